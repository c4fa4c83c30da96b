"""What came of a run, in front of who started it."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import msgspec

from flowc.plan.diagnostics import Refused, print_refusal
from flowrun.core.state import State
from flowrun.shell.clock import now_ms
from flowrun.shell.log.home import Home
from flowrun.shell.saying import complain, say, whoever_reads
from flowrun.shell.showing.report import failures, report
from flowrun.shell.showing.views import summary

_EXIT_STATUS = {"succeeded": 0, "failed": 1, "cancelled": 130}


def conclude(
    run: str, state: State, home: Home, as_json: bool, resume: str, on_end: Sequence[str] = ()
) -> int:
    """Show what came of a run, and tell `on_end`; the exit status. `resume` is the command that goes on."""
    found = report(run, state.status, state, home, now_ms())
    say([msgspec.json.encode({"summary": found}).decode() if as_json else f"\n{summary(found, home)}"])
    problems = failures(run, state, home)
    if problems:
        with whoever_reads(sys.stderr):
            print(file=sys.stderr)
            print_refusal(Refused(*problems))
    if state.status != "succeeded":
        complain(f"\nwhat is done is kept: go on with `{resume}`")
    if on_end:
        from flowrun.shell.exporting.ending import tell

        for problem in tell(on_end, found):
            complain(f"note: {problem}")
    return _EXIT_STATUS[state.status]
