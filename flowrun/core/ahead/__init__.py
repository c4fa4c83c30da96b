"""A schedule computed ahead, where it pays: docs/scheduling-ahead.md says how and how well."""

from flowrun.core.ahead.genetic import search
from flowrun.core.ahead.justification import improve
from flowrun.core.ahead.plan import affordable, plan_ahead
from flowrun.core.ahead.problem import Impossible, Problem, Schedule, lower_bound, valid, violation
from flowrun.core.ahead.rules import dispatch

__all__ = [
    "Impossible",
    "Problem",
    "Schedule",
    "affordable",
    "dispatch",
    "improve",
    "lower_bound",
    "plan_ahead",
    "search",
    "valid",
    "violation",
]
