"""Showing a run while it goes on: live in a terminal, plain lines elsewhere, JSON lines for machines."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from flowc.plan.model import Resources
from flowc.plan.text import counted, printable
from flowrun.core.changes import (
    GRACE_MS,
    AnyChange,
    CancelRequested,
    Elsewhere,
    Exited,
    Finish,
    Kill,
    Opened,
    Outsider,
    Redo,
    Resolved,
    Retry,
    Reuse,
    Start,
)
from flowrun.core.model import Failure
from flowrun.core.state import State
from flowrun.shell.clock import now_ms
from flowrun.shell.log.outage import lasting
from flowrun.shell.saying import say, whoever_reads

if TYPE_CHECKING:
    from rich.live import Live

    from flowrun.core.progress import Progress
    from flowrun.shell.execution import Watcher

FEW = 200  # nodes: of more, not each start and end is told
MOST_PROBLEMS = 50  # lines about what went wrong
_REFRESH_S = 0.1


def watcher(as_json: bool, run: str) -> Watcher:
    """What shows a run on standard output."""
    if as_json:
        return JsonWatcher()
    can_redraw = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveWatcher(run) if can_redraw else PlainWatcher()


class PlainWatcher:
    """A line for every start and end of a node; of very many, how far they are, and what went wrong."""

    def __init__(self) -> None:
        self._lines = Lines()
        self._progress: Progress | None = None
        self._next_ms = 0.0
        self._problems = 0

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Print what happened."""
        if self._progress is None and len(state.tasks) <= FEW:
            say(line for change in changes if (line := self._lines.of(state, change)))
            return
        if self._progress is None:  # maybe by a loop that turned out to be long
            from flowrun.core.progress import Progress

            self._progress = Progress(state)
        self._progress.see(state, changes)
        for change in changes:
            if isinstance(change, CancelRequested):
                say([self._lines.of(state, change)])
            if _is_problem(change) and self._problems < MOST_PROBLEMS:
                self._problems += 1
                say([self._lines.of(state, change)])
                if self._problems == MOST_PROBLEMS:
                    say([f"{' ' * 11} ... what else goes wrong is counted"])
        self._tell(state, over=isinstance(changes[-1], Finish))

    def tick(self, state: State) -> None:
        """Nothing happened: of very many nodes, how far the run is."""
        if self._progress is not None:
            self._tell(state)

    def suffer(self, outage: str) -> None:
        """Standard error has it."""

    def _tell(self, state: State, over: bool = False) -> None:
        """More and more seldom: after a minute every 3 s, after an hour every 3 minutes."""
        now = now_ms()
        if not over and now < self._next_ms:
            return
        from flowrun.shell.showing.live import sentence

        assert self._progress is not None
        self._next_ms = now + max(1000, (now - state.opened_ms) / 20)
        say([f"{_clock(state, now)}  {sentence(state, self._progress, now)}"])


class JsonWatcher:
    """Every change as it stands in the run log, one a line."""

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Print the changes."""
        say(msgspec.json.encode(change).decode() for change in changes)

    def tick(self, state: State) -> None:
        """Nothing happened: nothing is printed."""

    def suffer(self, outage: str) -> None:
        """Standard error has it."""


class LiveWatcher:
    """Finished nodes scroll by, or of very many those that went wrong; below them stands the live view."""

    def __init__(self, run: str = "") -> None:
        self._run = run
        self._live: Live | None = None
        self._lines = Lines()
        self._progress: Progress | None = None
        self._next_s = 0.0
        self._problems = 0
        self._outage, self._since_ms = "", 0

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Print what ended, and draw."""
        if self._live is None or self._progress is None:
            # Loaded when the first nodes are already running.
            from rich.live import Live

            from flowrun.core.progress import Progress

            self._live = Live(auto_refresh=False, transient=True)
            with whoever_reads(sys.stdout):
                self._live.start()
            self._progress = Progress(state)
        self._progress.see(state, changes)
        few = len(state.tasks) <= FEW
        lines = []
        for change in changes:
            problem, asked = _is_problem(change), isinstance(change, CancelRequested)
            self._problems += problem
            if not isinstance(change, Start) if few else problem or asked:
                line = self._lines.of(state, change)
                if line and (few or asked or self._problems <= MOST_PROBLEMS):
                    lines.append(line)
        if lines:
            with whoever_reads(sys.stdout):
                self._live.console.print("\n".join(lines), highlight=False, markup=False, soft_wrap=True)
        self.tick(state)
        if any(isinstance(change, Finish) for change in changes):
            with whoever_reads(sys.stdout):
                self._live.stop()

    def tick(self, state: State) -> None:
        """Draw, if it is time to."""
        if time.monotonic() >= self._next_s:
            self._draw(state)

    def suffer(self, outage: str) -> None:
        """A line of its own, as long as it lasts."""
        if not self._outage:
            self._since_ms = now_ms()
        self._outage = outage

    def _draw(self, state: State) -> None:
        """At most every tenth of a second, and never for more than a hundredth of this process's time."""
        if self._live is None or self._progress is None or not self._live.is_started:
            return
        from flowrun.shell.showing.live import frame

        began = time.thread_time()
        screen = self._live.console.size
        now = now_ms()
        alert = lasting(self._outage, now - self._since_ms) if self._outage else ""
        picture = frame(self._run, state, self._progress, now, screen.width, screen.height, alert)
        with whoever_reads(sys.stdout):
            self._live.update(picture, refresh=True)
        self._next_s = time.monotonic() + max(_REFRESH_S, 100 * (time.thread_time() - began))


class Lines:
    """What happens in lines, with aligned names."""

    def __init__(self) -> None:
        self._width = self._seen = 0

    def of(self, state: State, change: AnyChange) -> str:
        """A line about a change; empty if nobody need know."""
        if len(state.tasks) > self._seen:  # at first, and when a loop unfolds
            longest = max(len(task.node.id) for task in state.tasks[self._seen :])
            self._width, self._seen = min(40, max(self._width, longest)), len(state.tasks)
        return printable(_line(state, change, self._width))


def _is_problem(change: AnyChange) -> bool:
    match change:
        case Start():  # every second change
            return False
        case Exited(failure=failure) | Resolved(failure=failure):
            return failure is not None
        case _:
            return isinstance(change, Retry)


def _line(state: State, change: AnyChange, width: int) -> str:
    match change:
        case Start():
            return f"{_clock(state, change.at_ms)}  start  {change.node}"
        case Reuse():
            return f"{_clock(state, change.at_ms)}  cached {change.node:<{width}}  of {change.origin.run}"
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
        case CancelRequested():
            return f"{_clock(state, change.at_ms)}  note   {_cancelling(state)}"
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


def _cancelling(state: State) -> str:
    if state.cancelling > 1:
        return "cancelled: what runs is ended at once"
    return f"cancelled: what runs is asked to end, and made to {GRACE_MS // 1000} s later; again: at once"


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
