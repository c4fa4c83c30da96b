"""How long the passes of a compilation take, and an end to one that takes too long."""

from __future__ import annotations

import contextlib
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from flowc import lang
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowc.plan.text import columns, counted
from flowc.spans import display_path

_PACKAGE = str(Path(__file__).parent)
_SECOND_ALARM_S = 1.0


class Stopwatch:
    """The seconds that each lap took. `current` is the lap that is on."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.laps: dict[str, float] = {}
        self.current = ""

    @contextlib.contextmanager
    def lap(self, name: str) -> Iterator[None]:
        """Time what is done inside."""
        began, self.current = self.clock(), name
        yield
        self.laps[name] = self.clock() - began

    def table(self) -> str:
        """Lines of text: each lap, and the sum."""
        total = sum(self.laps.values())
        rows = [
            (name, f"{seconds * 1000:8.1f} ms", f"{100 * seconds / (total or 1):3.0f} %")
            for name, seconds in self.laps.items()
        ]
        return "\n".join(columns([*rows, ("sum", f"{total * 1000:8.1f} ms", "")]))


class OutOfTime(BaseException):
    """The time is over. Not an `Exception`, so that an author's `except Exception` lets it pass."""


@contextlib.contextmanager
def time_limit(seconds: float, watch: Stopwatch) -> Iterator[None]:
    """Refuse (FC212) to go on after some seconds, 0 for never, whatever is being run by then.

    By a signal, which costs nothing while all is well, and ends even an endless loop of the author's. It has
    to be the main thread. What a library does in C is waited for.
    """
    if not seconds:
        yield
        return
    over: list[Diagnostic] = []

    def stop(_signal: int, frame: FrameType | None) -> None:
        over[:] = over or [_explanation(seconds, watch, frame)]
        # Again, should a bare `except:` of the author's swallow it.
        signal.setitimer(signal.ITIMER_REAL, _SECOND_ALARM_S)
        raise OutOfTime

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    except OutOfTime:
        pass
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if over:
        raise Refused(*over)


def _explanation(seconds: float, watch: Stopwatch, frame: FrameType | None) -> Diagnostic:
    """Which pass it was, where in the author's code, and which calls made the most nodes so far."""
    message = f"compiling takes longer than {seconds:g} s; it was in the pass `{watch.current}`"
    place = _place_of_author(frame)
    notes = [f"{name} took {lap:.2f} s" for name, lap in watch.laps.items() if lap >= seconds / 10]
    trace: Any = lang.recorder
    if trace is not None:
        sizes = Counter(node.site for node in trace.all_nodes()).most_common(5)
        notes += [f"{counted(count, 'node')} of `{site}`, {trace.calls[site].place}" for site, count in sizes]
    hint = "give it more time with `--time-limit`, or have the workflow describe less"
    return Diagnostic("FC212", message, (Label(place, "here"),) if place else (), tuple(notes), hint)


def _place_of_author(frame: FrameType | None) -> Place | None:
    """The innermost line under way of a file in the current folder that is not installed there."""
    here = str(Path.cwd())
    while frame is not None:
        file = frame.f_code.co_filename
        own = file.startswith(here) and not file.startswith(_PACKAGE) and file.endswith(".py")
        if own and "site-packages" not in file:
            return Place(display_path(file), frame.f_lineno)
        frame = frame.f_back
    return None
