"""The thread that writes the run log, so that nobody waits for the disk.

It commits together what has come since it last did (group commit), in the order in which it came: a prefix of
that is durable at every moment. `woken` is readable when more has become durable, or when something is wrong.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import SimpleQueue
from weakref import WeakSet

from flowrun.core.changes import Opened
from flowrun.shell.log.database import Batch, Conflict, append, connect, has

Connect = Callable[[Path, float], sqlite3.Connection]

_TIMEOUT_S = 0.25  # for another process that is writing; then it is tried again
_LONG_S = 1.0  # for which others may have the database before that is an outage
_GATHER_S = 0.01  # from one commit to the next, unless somebody waits: each costs as much as many rows
_PAUSES_S = (0.05, 2.0)  # between attempts: they double from the first to the second
# What may pass: busy, locked, no memory, read only, I/O error, full, cannot open, protocol.
_PASSING = frozenset({5, 6, 7, 8, 10, 13, 14, 15})
_BUSY = frozenset({5, 6})


class Writer:
    """Writes batches of changes to the database at `path`.

    Something was put `handed` times, of which so many are `durable`. `outage` says why nothing can be written
    just now: it is tried again and again. `failure` is why nothing can be any more. `disputes` are runs that
    another process has written to, until they are taken from there: nothing of them is written up to their
    next `Opened`, and they are told before what was put of them counts as durable. The thread starts with the
    first batch, and ends before this process forks: a fork would copy what it holds, and not itself.
    """

    def __init__(self, path: Path, connect: Connect = connect) -> None:
        self.handed = self.durable = 0
        self.outage = ""
        self.disputes: deque[str] = deque()
        self.failure: Exception | None = None
        self.woken = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._path = path
        self._connect = connect
        self._inbox: SimpleQueue[Sequence[Batch] | None] = SimpleQueue()
        self._left: list[Sequence[Batch]] = []  # what the thread before could not write
        self._disputed: set[str] = set()
        self._ending = threading.Event()
        self._hurry = threading.Lock()  # free if the next commit is not to wait
        self._hurry.acquire()
        self._thread: threading.Thread | None = None
        _writers.add(self)

    def put(self, batches: Sequence[Batch]) -> None:
        """Have batches written, all or none, after all that was put before."""
        self.handed += 1
        self._inbox.put(batches)
        if self._thread is None:
            self.start()

    def hurry(self) -> None:
        """Somebody waits until what was put is durable."""
        with contextlib.suppress(RuntimeError):  # it hurries already
            self._hurry.release()

    def start(self) -> None:
        """Go on with what is left to write, if anything is."""
        if self._thread is None and self.durable < self.handed and self.failure is None:
            self._ending.clear()
            self._thread = threading.Thread(target=self._write, name="run log", daemon=True)
            self._thread.start()

    def heard(self) -> None:
        """`woken` is not readable any more, until there is something new."""
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self.woken)

    def stop(self) -> None:
        """Write what was put, and end the thread; in an outage the rest is left. `start` goes on."""
        if self._thread is not None:
            self._ending.set()
            self._inbox.put(None)
            self.hurry()
            self._thread.join()
            self._thread = None

    def close(self) -> None:
        """As `stop`; nothing is going to be put any more."""
        self.stop()
        _writers.discard(self)
        os.close(self.woken)

    def _write(self) -> None:
        """The thread."""
        db: sqlite3.Connection | None = None
        try:
            while group := self._left or self._next_group():
                self._left = group
                wanted = [batch for batches in group for batch in batches if self._counts(batch)]
                db = self._insist(db, wanted)
                if db is None:
                    return
                self._left = []
                self.durable += len(group)
                os.eventfd_write(self.woken, 1)
                self._hurry.acquire(timeout=_GATHER_S)
        except Exception as error:  # whatever it is, the loop has to hear of it
            self.failure = error
            os.eventfd_write(self.woken, 1)
        finally:
            if db is not None:
                db.close()

    def _next_group(self) -> list[Sequence[Batch]]:
        """All that was put by now, at least something; empty if the thread is to end."""
        group: list[Sequence[Batch]] = []
        while not (group and self._inbox.empty()):
            batches = self._inbox.get()
            if batches is not None:
                group.append(batches)
            elif self._ending.is_set():
                if group:
                    self._inbox.put(None)  # after this group
                break
        return group

    def _insist(self, db: sqlite3.Connection | None, batches: list[Batch]) -> sqlite3.Connection | None:
        """Write batches, however long it takes; the connection by then. None: the thread is to end first."""
        since, pause_s, tried = time.monotonic(), _PAUSES_S[0], False
        while True:
            batches = [batch for batch in batches if batch.run not in self._disputed]
            try:
                db = db or self._connect(self._path, _TIMEOUT_S)
                # A commit that failed may have been one after all.
                if batches and not (tried and has(db, batches)):
                    append(db, batches)
                self._tell("")
                return db
            except Conflict as conflict:  # nothing is written: once more, but for that run
                self._disputed.add(conflict.run)
                self.disputes.append(conflict.run)
                continue
            except (sqlite3.Error, OSError) as error:
                code = 14 if isinstance(error, OSError) else getattr(error, "sqlite_errorcode", 1) & 0xFF
                if code not in _PASSING:
                    raise
                if code not in _BUSY or time.monotonic() - since >= _LONG_S:
                    self._tell(str(error))
                if db is not None and (code not in _BUSY or self._ending.is_set()):
                    db.close()
                    db = None
            tried = True
            if not self.outage:
                time.sleep(pause_s)
            elif self._ending.wait(pause_s):
                return None
            pause_s = min(2 * pause_s, _PAUSES_S[1])

    def _counts(self, batch: Batch) -> bool:
        """Whether a batch is to be written: not if it is of a run that another process goes on with by now.

        Who opens such a run again has read what that other one wrote.
        """
        if isinstance(batch.changes[0], Opened):
            self._disputed.discard(batch.run)
        return batch.run not in self._disputed

    def _tell(self, outage: str) -> None:
        if outage != self.outage:
            self.outage = outage
            os.eventfd_write(self.woken, 1)


_writers: WeakSet[Writer] = WeakSet()


def _stop_all() -> None:
    for writer in list(_writers):
        writer.stop()


def _start_all() -> None:
    for writer in list(_writers):
        writer.start()


os.register_at_fork(before=_stop_all, after_in_parent=_start_all)
