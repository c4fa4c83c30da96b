"""Where workers work: a folder for each, below the state folder."""

from __future__ import annotations

import contextlib
import fcntl
import heapq
import itertools
import os
from pathlib import Path


class Places:
    """Numbered folders that no other process uses: `work/0/3` is the fourth of the first who came.

    The kernel releases them however this process ends. They are made and emptied by who works there.
    """

    def __init__(self, folder: Path) -> None:
        for number in itertools.count():
            own = folder / str(number)
            own.mkdir(parents=True, exist_ok=True)
            self._lock = os.open(own, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError:
                os.close(self._lock)
        self._folder = own.absolute()
        self._free: list[int] = []
        self._most = 0

    def take(self) -> int:
        """A place that is free."""
        if self._free:
            return heapq.heappop(self._free)
        self._most += 1
        return self._most - 1

    def give_back(self, number: int) -> None:
        """A place is free again. What lies there may stay until somebody takes it."""
        heapq.heappush(self._free, number)

    def path(self, number: int) -> str:
        """Where a place is."""
        return f"{self._folder}/{number}"

    def clear(self) -> None:
        """Nobody works here any more."""
        with contextlib.suppress(OSError):
            for name in os.listdir(self._folder):
                try:
                    remove(f"{self._folder}/{name}")  # hardly ever is anything in it
                except (OSError, RecursionError):
                    import shutil

                    shutil.rmtree(self._folder / name, ignore_errors=True)
        os.close(self._lock)


def beat_file(folder: str) -> str:
    """What who works in a folder touches to say that it is alive."""
    return f"{folder}.beat"


def remove(path: str) -> None:
    """Remove a file, or a folder with all that is in it, also where it was made hard to."""
    try:
        os.unlink(path)
        return
    except FileNotFoundError:
        return
    except OSError:
        with contextlib.suppress(OSError):
            os.chmod(path, 0o700)
    with os.scandir(path) as entries:
        for entry in list(entries):
            remove(entry.path)
    os.rmdir(path)
