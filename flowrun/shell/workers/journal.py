"""In a worker: what an operator logs, on its way to the run.

Bounded in rate and size, whatever an operator does: what comes faster than messages may be sent waits for
the next, of a metric with very many values every second, fourth, ... is kept, and too many names or notes are
dropped, of which the operator's own output tells once.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal, NamedTuple

from flowrun.core.changes import Point
from flowrun.core.model import Artifact

BURST, PER_S = 40, 20  # messages at once, and then each second
MAX_METRICS, MAX_NOTES, MAX_ARTIFACTS = 500, 1000, 100  # of an attempt
MAX_NOTE = 4000  # characters
PLENTY = 2000  # values of a metric that are all kept
_AT_ONCE = 300  # points in a message, and notes in characters: some 20 kB each
_TEXT_AT_ONCE = 20_000
_NAMED: dict[str, Literal["nan", "inf", "-inf"]] = {"nan": "nan", "inf": "inf", "-inf": "-inf"}


class Entries(NamedTuple):
    """What goes in one message."""

    points: tuple[Point, ...] = ()
    notes: tuple[str, ...] = ()
    artifacts: Mapping[str, Artifact] = MappingProxyType({})


class Journal:
    """A sink for `flowc.plan.sink`. `send` must not block for long, `keep` stores a value durably.

    `now_ms` is the time since the epoch. Several threads may log.
    """

    def __init__(
        self,
        send: Callable[[Entries], None],
        keep: Callable[[Any], Artifact],
        now_ms: Callable[[], int],
    ) -> None:
        self._send = send
        self._keep = keep
        self._now_ms = now_ms
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._points: list[Point] = []
        self._notes: list[str] = []
        self._artifacts: dict[str, Artifact] = {}
        self._tokens, self._filled_ms = float(BURST), now_ms()
        self._counts: dict[str, int] = {}  # of metrics: values so far
        self._left_out: dict[str, Point] = {}  # of metrics: the last value, if it was thinned out
        self._noted = self._stored = 0
        self._said: set[str] = set()

    def metric(self, name: str, value: float, step: int | None) -> None:
        """A value of a metric."""
        if os.getpid() != self._process:
            return
        with self._lock:
            count = self._counts.get(name, 0)
            if not count and len(self._counts) >= MAX_METRICS:
                self._drop(f"{MAX_METRICS} metrics", name)
                return
            self._counts[name] = count + 1
            point = Point(name, _NAMED.get(str(value), value), -1 if step is None else step, self._now_ms())
            if count % stride(count):
                self._left_out[name] = point
                return
            self._left_out.pop(name, None)
            self._points.append(point)
            self._send_some()

    def note(self, text: str) -> None:
        """Something to be read with the run."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._noted += 1
            if self._noted > MAX_NOTES:
                self._drop(f"{MAX_NOTES} notes", text)
                return
            shown = text[:MAX_NOTE].encode("utf-8", "backslashreplace").decode()
            self._notes.append(
                shown if max(len(shown), len(text)) <= MAX_NOTE else f"{shown[: MAX_NOTE - 1]}…"
            )
            self._send_some()

    def artifact(self, name: str, value: Any) -> None:
        """A small value to be kept with the run. Whatever `keep` raises, the operator is told."""
        if os.getpid() != self._process:
            return
        kept = self._keep(value)
        with self._lock:
            self._stored += 1
            if self._stored > MAX_ARTIFACTS:
                self._drop(f"{MAX_ARTIFACTS} artifacts", name)
                return
            self._artifacts[name] = kept
            self._send_some()

    def close(self) -> None:
        """Send all that is left: the operator has ended, and threads that it left behind log no more."""
        if os.getpid() != self._process:
            return
        with self._lock:
            self._process = -1
            self._points += self._left_out.values()
            self._left_out.clear()
            while self._points or self._notes or self._artifacts:
                self._send_one()

    def _send_some(self) -> None:
        """Send, if it is not too soon."""
        now = self._now_ms()
        self._tokens = min(BURST, self._tokens + max(0, now - self._filled_ms) * PER_S / 1000)
        self._filled_ms = now
        while self._tokens >= 1 and (self._points or self._notes or self._artifacts):
            self._tokens -= 1
            self._send_one()

    def _send_one(self) -> None:
        points, self._points = self._points[:_AT_ONCE], self._points[_AT_ONCE:]
        notes: list[str] = []
        while self._notes and (not notes or sum(map(len, notes)) + len(self._notes[0]) <= _TEXT_AT_ONCE):
            notes.append(self._notes.pop(0))
        artifacts, self._artifacts = self._artifacts, {}
        self._send(Entries(tuple(points), tuple(notes), artifacts))

    def _drop(self, bound: str, what: str) -> None:
        if bound not in self._said:
            self._said.add(bound)
            message = f"flowrun: of an attempt at most {bound} are kept; from here on none is: {what[:80]}"
            print(message, file=sys.stderr)


def stride(count: int) -> int:
    """Which of a metric's values are kept after so many: every one, then every second, fourth, ...

    Of n values at most some `PLENTY * (1 + log2(n / PLENTY))` are.
    """
    return 1 << max(0, (count // PLENTY).bit_length())
