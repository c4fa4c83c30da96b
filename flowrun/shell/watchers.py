"""Showing a run while it goes on: live in a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import msgspec

from flowc.plan.model import Resources
from flowc.plan.text import counted
from flowrun.core.changes import (
    AnyChange,
    Elsewhere,
    Exited,
    Finish,
    Kill,
    Opened,
    Outsider,
    Redo,
    Resolved,
    Retry,
    Start,
)
from flowrun.core.model import Failure
from flowrun.core.state import State
from flowrun.shell.clock import now_ms

if TYPE_CHECKING:
    from rich.console import Group
    from rich.live import Live

_MOST_RUNNING = 12  # nodes that the live view lists
_REFRESH_S = 0.1


class PlainWatcher:
    """A line for every start and end of a node."""

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Print what happened."""
        say(line for change in changes if (line := _line(state, change)))

    def tick(self, state: State) -> None:
        """Nothing happened: nothing is printed."""


class JsonWatcher:
    """Every change as it stands in the run log, one a line."""

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Print the changes."""
        say(msgspec.json.encode(change).decode() for change in changes)

    def tick(self, state: State) -> None:
        """Nothing happened: nothing is printed."""


class LiveWatcher:
    """Finished nodes scroll by; below them stands what is running, and how far the run is."""

    def __init__(self) -> None:
        self._live: Live | None = None
        self._drawn = 0.0

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Print what ended, and draw."""
        if self._live is None:
            # Loaded when the first nodes are already running.
            from rich.live import Live

            self._live = Live(auto_refresh=False, transient=True)
            self._live.start()
        for change in changes:
            line = "" if isinstance(change, Start) else _line(state, change)
            if line:
                self._live.console.print(line, highlight=False, markup=False)
        self._draw(state)
        if any(isinstance(change, Finish) for change in changes):
            self._live.stop()

    def tick(self, state: State) -> None:
        """Let the clocks run on."""
        if self._live is not None and time.monotonic() - self._drawn >= _REFRESH_S:
            self._draw(state)

    def _draw(self, state: State) -> None:
        assert self._live is not None
        self._drawn = time.monotonic()
        self._live.update(_picture(state, now_ms()), refresh=True)


def say(lines: Iterable[str]) -> None:
    """Print lines at once; that nobody reads them any more is no error."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except OSError:
        # Whoever was reading has seen enough (`| head`), or the disk is full: no reason to stop the run.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _line(state: State, change: AnyChange) -> str:
    width = min(40, max((len(task.node.id) for task in state.tasks), default=0))
    match change:
        case Start():
            return f"{_clock(state, change.at_ms)}  start  {change.node}"
        case Exited(failure=None):
            task = state.by_id[change.node]
            took = _seconds(change.at_ms - task.started_ms)
            return f"{_clock(state, change.at_ms)}  done   {change.node:<{width}}  {took}"
        case Exited(failure=Failure(code="FR209" | "FR218")):
            return ""  # what becomes of it is told next
        case Opened(elsewhere=held) | Elsewhere(held=held) if held:
            return f"{_clock(state, change.at_ms)}  note   {held_elsewhere(held)}"
        case Elsewhere():
            return f"{_clock(state, change.at_ms)}  note   the host is ours alone again"
        case Retry(kind="taken"):
            return f"{_clock(state, change.at_ms)}  queued {change.node:<{width}}  another process was first"
        case Kill(reason="preempted", force=False):
            whom = f"for {change.by}" if change.by else "as the daemon ends"
            return f"{_clock(state, change.at_ms)}  notice {change.node:<{width}}  preempted {whom}"
        case Retry(kind="preempted"):
            return f"{_clock(state, change.at_ms)}  queued {change.node:<{width}}  again, as it was preempted"
        case Exited(failure=failure) if failure is not None:
            sentence = failure.message.splitlines()[0][:120]
            return f"{_clock(state, change.at_ms)}  failed {change.node:<{width}}  {sentence}"
        case Resolved(failure=None):
            control = state.by_id[change.node].site.control
            came_to = str(change.truth).lower() if control == "branch" else counted(len(change.names), "item")
            return f"{_clock(state, change.at_ms)}  known  {change.node:<{width}}  {came_to}"
        case Resolved(failure=failure) if failure is not None:
            return f"{_clock(state, change.at_ms)}  failed {change.node:<{width}}  {failure.message}"
        case Redo():
            sources = ", ".join(change.sources)
            return f"{_clock(state, change.at_ms)}  again  {change.node:<{width}}  after {sources}, anew"
        case Retry():
            wait = _seconds(change.ready_at_ms - change.at_ms).strip()
            more = f" with {_memory(change.needs)}" if change.needs else ""
            return f"{_clock(state, change.at_ms)}  retry  {change.node:<{width}}  in {wait}{more}"
        case _:
            return ""


def _memory(needs: Resources) -> str:
    on_gpu = f"{needs.gpu_memory_mb} MB of each GPU" if needs.gpu_memory_mb else ""
    return " and ".join(filter(None, [f"{needs.memory_mb} MB" if needs.memory_mb else "", on_gpu]))


def held_elsewhere(held: Sequence[Outsider]) -> str:
    """What other processes hold, in a sentence."""
    of: dict[str, list[str]] = {}
    for outsider in held:
        place = outsider.placement
        memory = f"{place.gpu_memory_mb} MB of " if place.gpu_memory_mb else ""
        of.setdefault(outsider.by, []).extend(f"{memory}GPU {index}" for index in place.gpus)
        if place.memory_mb:
            of[outsider.by].append(f"{place.memory_mb} MB of memory")
    return "; ".join(f"{by} holds {', '.join(what)}" for by, what in of.items())


def _clock(state: State, at_ms: int) -> str:
    return _seconds(at_ms - state.opened_ms)


def _seconds(ms: float) -> str:
    return f"{ms / 1000:7.2f} s"


def _picture(state: State, now_ms: float) -> Group:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    done = len(state.tasks) - state.unfinished
    head = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(1, len(state.tasks)), completed=done, width=30)
    head.add_row(_clock(state, round(now_ms)), bar, f"{done} of {counted(len(state.tasks), 'node')}")
    running = sorted(state.running.values(), key=lambda task: task.index)
    rows = [Text(f"{_seconds(now_ms - task.started_ms)}  {task.node.id}") for task in running[:_MOST_RUNNING]]
    if len(running) > _MOST_RUNNING:
        rows.append(Text(f"           ... and {len(running) - _MOST_RUNNING} more are running"))
    return Group(*rows, head)
