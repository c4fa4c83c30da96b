"""A run that was, or still is, as a chart."""

from __future__ import annotations

from pathlib import Path

from flowc.plan.diagnostics import Place, refuse
from flowrun.core.bottleneck import findings
from flowrun.core.model import Capacity
from flowrun.core.state import State
from flowrun.core.timeline import timeline_of
from flowrun.shell.amounts import duration
from flowrun.shell.chart import terminal
from flowrun.shell.chart.words import bottleneck, bound, conclusions
from flowrun.shell.host.devices import describe


class Picture:
    """A run since it was last started."""

    def __init__(self, run: str, status: str, state: State, capacity: Capacity, now_ms: int) -> None:
        if status == "interrupted":  # nobody executes it: what ran does not, and its time does not run on
            times = (max(task.started_ms, task.ended_ms) for task in state.tasks)
            now_ms = max([state.opened_ms, *times])
        self._timeline = timeline_of(state, capacity, now_ms)
        self._found = findings(self._timeline)
        self._title = f"{run} {status}: {duration(self._found.makespan_ms)} on {describe(capacity)}"

    def text(self) -> str:
        """For a terminal."""
        lines = terminal.draw(self._timeline, terminal.columns(), set(self._found.chain))
        return "\n".join([self._title, bound(self._found), "", *lines, "", *conclusions(self._found)])

    def write(self, path: Path) -> None:
        """As an SVG file; `Refused` (FR133) if it cannot be written."""
        from flowrun.shell.chart import svg

        told = [bound(self._found), f"bottleneck: {bottleneck(self._found)}"]
        write(path, svg.draw(self._timeline, self._title, told, set(self._found.chain)))


def write(path: Path, text: str) -> None:
    """Write a picture; `Refused` (FR133) if that is not possible."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        refuse("FR133", f"the picture cannot be written: {error.strerror}", Place(str(path)))
