"""A run in front of who started it: how it goes, and what came of it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import msgspec

from flowc.plan.diagnostics import Refused, print_refusal
from flowrun.core.state import State
from flowrun.shell.clock import now_ms
from flowrun.shell.execution import Watcher
from flowrun.shell.log.home import Home
from flowrun.shell.showing.report import failures, report
from flowrun.shell.showing.views import summary
from flowrun.shell.showing.watchers import JsonWatcher, LiveWatcher, PlainWatcher, say

_EXIT_STATUS = {"succeeded": 0, "failed": 1, "cancelled": 130}


def watcher(as_json: bool, run: str) -> Watcher:
    """What shows a run on standard output."""
    if as_json:
        return JsonWatcher()
    can_redraw = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveWatcher(run) if can_redraw else PlainWatcher()


def conclude(
    run: str, state: State, home: Home, as_json: bool, resume: str, on_end: Sequence[str] = ()
) -> int:
    """Show what came of a run, and tell `on_end`; the exit status. `resume` is the command that goes on."""
    found = report(run, state.status, state, home, now_ms())
    say([msgspec.json.encode({"summary": found}).decode() if as_json else f"\n{summary(found, home)}"])
    problems = failures(run, state, home)
    if problems:
        print(file=sys.stderr)
        print_refusal(Refused(*problems))
    if state.status != "succeeded":
        print(f"\nwhat is done is kept: go on with `{resume}`", file=sys.stderr)
    if on_end:
        from flowrun.shell.exporting.ending import tell

        for problem in tell(on_end, found):
            print(f"note: {problem}", file=sys.stderr)
    return _EXIT_STATUS[state.status]
