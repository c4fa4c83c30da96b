"""A schedule computed ahead, where it pays: resource-constrained project scheduling. See
docs/scheduling-ahead.md."""

from flowrun.core.ahead.dispatch import dispatch
from flowrun.core.ahead.improve import improve
from flowrun.core.ahead.plan import affordable, plan_ahead
from flowrun.core.ahead.problem import Impossible, Problem, Schedule, lower_bound, valid, violation
from flowrun.core.ahead.search import search

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
