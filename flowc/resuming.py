"""For operators that take long: show that they live, keep what is done, go on with it when started anew.

@operator
def train(epochs: int) -> Model:
    kept = scratch() / "model.pt"
    model = Model.load(kept) if kept.exists() else Model()
    for epoch in range(model.epoch, epochs):
        model.train()
        if stopping():
            model.save(kept)
            sys.exit("stopped between two epochs")
    return model
"""

from __future__ import annotations

import contextlib
import os
import signal
import tempfile
import time
from pathlib import Path

_BEAT_S = 0.25  # not more often, however often it is called
_next_beat_s = 0.0
_asked: list[int] = []  # the signals that came since somebody looked for the first time


def scratch() -> Path:
    """A folder that the attempts of a node have in common, as long as they are to compute the same.

    It is there for the node when that is started again: after a failure, a preemption, in a resumed run. It
    is gone when the run has succeeded. Outside of a run it is a new temporary folder at each call.
    """
    given = os.environ.get("FLOW_SCRATCH", "")
    if not given:
        return Path(tempfile.mkdtemp(prefix="flow-"))
    folder = Path(given)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def beat() -> None:
    """Say that the node is at work, for operators with a `heartbeat`. Output says so, too.

    From any thread or process that the node started; as often as you like. Outside of a run nothing happens.
    """
    global _next_beat_s
    now_s = time.monotonic()
    if now_s < _next_beat_s:
        return
    _next_beat_s = now_s + _BEAT_S
    file = os.environ.get("FLOW_BEAT", "")
    if file:
        with contextlib.suppress(OSError):  # the work matters more than its being told of
            os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600))
            os.utime(file)


def stopping() -> bool:
    """Whether the node is asked to end: it is preempted, cancelled, or has reached its time limit.

    Who has called this once is not ended by that signal (SIGTERM) any more, but has a grace period to write
    down where it is and exit. To be called from the main thread, often.
    """
    if signal.getsignal(signal.SIGTERM) is not _note:
        signal.signal(signal.SIGTERM, _note)
    return bool(_asked)


def _note(number: int, _frame: object) -> None:
    _asked.append(number)
