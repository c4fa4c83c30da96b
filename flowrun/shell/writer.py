"""The thread that writes the run log, so that nobody waits for the disk.

It commits together what has come since it last did (group commit), in the order in which it came: a prefix of
that is durable at every moment. `woken` is readable when more has become durable.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from queue import SimpleQueue
from weakref import WeakSet

from flowrun.shell.database import Batch, append, connect

_TIMEOUT_S = 10.0


class Writer:
    """Writes batches of changes to the database at `path`.

    `handed` batches were put, of which `durable` are. The thread starts with the first, and ends before this
    process forks: a fork would copy what it holds, and not itself.
    """

    def __init__(self, path: Path) -> None:
        self.handed = self.durable = 0
        self.failure: Exception | None = None  # for which nothing can be written any more
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._path = path
        self._inbox: SimpleQueue[Sequence[Batch] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        _writers.add(self)

    def put(self, batches: Sequence[Batch]) -> None:
        """Have batches written, all or none, after all that was put before."""
        self.handed += 1
        self._inbox.put(batches)
        if self._thread is None:
            self._thread = threading.Thread(target=self._write, name="run log", daemon=True)
            self._thread.start()

    def heard(self) -> None:
        """`woken` is not readable any more, until there is something new."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.woken)

    def stop(self) -> None:
        """Write what was put, and end the thread. The next `put` starts another."""
        if self._thread is not None:
            self._inbox.put(None)
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """Write what was put; nothing is going to be any more."""
        self.stop()
        _writers.discard(self)
        os.close(self.woken)

    def _write(self) -> None:
        """The thread."""
        try:
            db = connect(self._path, _TIMEOUT_S)
            with contextlib.closing(db):
                while group := self._next_group():
                    append(db, [batch for batches in group for batch in batches])
                    self.durable += len(group)
                    os.eventfd_write(self.woken, 1)
        except Exception as error:  # whatever it is, the loop has to hear of it
            self.failure = error
            os.eventfd_write(self.woken, 1)

    def _next_group(self) -> list[Sequence[Batch]]:
        """All that was put by now, at least something; empty if the thread is to end."""
        group = []
        batches = self._inbox.get()
        while batches is not None:
            group.append(batches)
            if self._inbox.empty():
                return group
            batches = self._inbox.get()
        if group:
            self._inbox.put(None)  # after this group
        return group


_writers: WeakSet[Writer] = WeakSet()


def _stop_all() -> None:
    for writer in list(_writers):
        writer.stop()


os.register_at_fork(before=_stop_all)
