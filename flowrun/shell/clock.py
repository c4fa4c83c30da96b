"""The time, which never jumps: that of the epoch when this process began, and how long it has been since.

Somebody may set the host's clock while a run goes on. Deadlines, pauses and durations are none the worse for
it; what a log says is off by as much until the next process writes it.
"""

from __future__ import annotations

import time

_EPOCH_NS = time.time_ns() - time.monotonic_ns()


def now_ms() -> int:
    """Milliseconds since the epoch. Never less than what it was before."""
    return (_EPOCH_NS + time.monotonic_ns()) // 1_000_000
