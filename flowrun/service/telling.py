"""Telling others of the daemon's runs that are over: by processes beside it, a few at a time.

What is sent is what the run log has, so it does not matter when. Only the end of the daemon waits for it.
"""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from flowc.plan.diagnostics import refuse
from flowc.plan.text import counted
from flowrun.core.changes import Submission
from flowrun.service.messages import Submit
from flowrun.shell.exporting.ending import is_url
from flowrun.shell.exporting.sending import PATIENCE_S, Exports, wanted
from flowrun.shell.log.home import Home

MOST = 4  # processes at a time; each loads a client library, and lives for a second or two
_LOOK_S = 0.05


class _Over(NamedTuple):
    """A run that is over: what it did since a position of its log is to be told."""

    run: str
    since: int
    of: Submission


class Telling:
    """Runs of which others are told, and those that wait for that. `always` is told of every run's end."""

    def __init__(self, home: Home, always: Sequence[str] = ()) -> None:
        self._home = home
        self._always = tuple(always)
        self._waiting: deque[_Over] = deque()
        self._going: list[Exports] = []

    def put(self, run: str, since: int, of: Submission) -> None:
        """A run is over."""
        self._waiting.append(_Over(run, since, of))

    def look(self) -> Iterator[str]:
        """Begin what can begin; lines about what ended, and did not work."""
        for exports in list(self._going):
            problems = exports.outcome()
            if problems is not None:
                self._going.remove(exports)
                yield from (f"{exports.run}: {problem}" for problem in problems)
        while self._waiting and len(self._going) < MOST:
            run, since, of = self._waiting.popleft()
            targets = wanted(of.otel, of.openlineage, os.environ)
            on_end = (*self._always, *of.on_end)
            if targets or on_end:
                self._going.append(Exports(self._home, run, since, targets, on_end))

    def close(self) -> Iterator[str]:
        """Tell what is left to tell, if that does not take long."""
        ends_s = time.monotonic() + PATIENCE_S
        yield from self.look()
        while self._going and time.monotonic() < ends_s:
            time.sleep(_LOOK_S)
            yield from self.look()
        for exports in self._going:
            exports.end()
        if left := len(self._going) + len(self._waiting):
            yield f"of {counted(left, 'run')} not all is told"


def receivers(of: Submission, request: Submit) -> Submission:
    """A submission with who is to be told of the run.

    `Refused`: it is no URL (FR128), or what sends it is not installed (FR158).
    """
    for option, target in (
        ("otel", request.otel),
        ("openlineage", request.openlineage),
        *(("on-end", target) for target in request.on_end),
    ):
        if target and not is_url(target):
            hint = "name a URL; commands for all runs are the daemon's: `flowrun daemon --on-end COMMAND`"
            refuse("FR128", f"`--{option} {target}`: a daemon tells of a run by URLs only", hint=hint)
    wanted(request.otel, request.openlineage, {})
    return Submission(of.team, of.tier, of.priority, request.otel, request.openlineage, request.on_end)
