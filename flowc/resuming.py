"""For operators that take long: keep what is done, go on with it when the node starts anew.

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

import os
import signal
import tempfile
from pathlib import Path

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
