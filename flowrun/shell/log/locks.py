"""Who executes a run: one process at most, as long as it lives."""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import ClassVar
from weakref import WeakValueDictionary

from flowc.plan.diagnostics import Place, refuse
from flowrun.shell.log.home import Home

_FLOCK = "hhqqi"  # struct flock: type, whence, start, length, process


class RunLock:
    """Says that a process is executing a run. The kernel releases it however the process ends.

    A record lock belongs to the process alone: forked workers do not inherit it. It is lost, too, when the
    process closes the file anywhere, so `is_locked` does not look at those that are `held` here.
    """

    held: ClassVar[WeakValueDictionary[tuple[int, Path], RunLock]] = WeakValueDictionary()

    def __init__(self, home: Home, run: str) -> None:
        """Take the lock; `Refused` (FR303) if another process has it."""
        folder = self._folder = home.run_folder(run)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / "lock").open("a")
        except OSError as error:
            refuse("FR305", f"the run's folder cannot be used: {error.strerror}", Place(str(folder)))
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            hint = f"wait for that process, or end it with `flowrun cancel {run}`"
            refuse("FR303", f"run `{run}` is being executed by another process", hint=hint)
        self.held[os.getpid(), folder] = self

    def release(self) -> None:
        """Nobody executes the run any more."""
        self.held.pop((os.getpid(), self._folder), None)
        self._file.close()


def is_locked(home: Home, run: str) -> bool:
    """Whether a process is executing a run."""
    return executing(home, run) is not None


def executing(home: Home, run: str) -> int | None:
    """The process that is executing a run, if there is one; 0 if it is none that can be seen from here.

    Only looks: to take the lock, be it for a moment, could make a process that is about to execute the run
    give up.
    """
    folder = home.run_folder(run)
    if (os.getpid(), folder) in RunLock.held:
        return os.getpid()
    try:
        with (folder / "lock").open("rb") as file:
            wanted = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            found = struct.unpack(_FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, wanted))
    except OSError:
        return None
    return None if found[0] == fcntl.F_UNLCK else max(0, found[-1])
