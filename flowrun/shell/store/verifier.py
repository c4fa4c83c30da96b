"""The thread that verifies values: to hash a gigabyte takes a moment, in which nobody is to wait for it."""

from __future__ import annotations

import contextlib
import os
import threading
from queue import SimpleQueue
from typing import NamedTuple

from flowrun.core.model import Artifact
from flowrun.shell.store.artifacts import Store


class Verdict(NamedTuple):
    """Whether an artifact, of which a node of a run asked it, is there and intact with all its parts."""

    run: str
    node: str
    artifact: Artifact
    sound: bool


class Verifier:
    """Verifies one value after the other. `woken` is readable when there are verdicts."""

    def __init__(self, store: Store) -> None:
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._store = store
        self._asked: SimpleQueue[tuple[str, str, Artifact] | None] = SimpleQueue()
        self._found: SimpleQueue[Verdict] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def put(self, run: str, node: str, artifact: Artifact) -> None:
        """Ask whether an artifact is sound."""
        self._asked.put((run, node, artifact))
        if self._thread is None:
            self._thread = threading.Thread(target=self._verify, name="verifier", daemon=True)
            self._thread.start()

    def heard(self) -> None:
        """`woken` is not readable any more, until there is something new."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.woken)

    def verdicts(self) -> list[Verdict]:
        """What has become known since the last call."""
        found = []
        while not self._found.empty():
            found.append(self._found.get())
        return found

    def close(self) -> None:
        """Nobody asks any more, nor waits for an answer."""
        self._asked.put(None)

    def _verify(self) -> None:
        """The thread."""
        while asked := self._asked.get():
            self._found.put(Verdict(*asked, self._is_sound(asked[2])))
            os.eventfd_write(self.woken, 1)

    def _is_sound(self, artifact: Artifact) -> bool:
        try:
            return self._store.is_sound(artifact)
        except Exception:  # whatever it is, it cannot be read: then it is computed
            return False
