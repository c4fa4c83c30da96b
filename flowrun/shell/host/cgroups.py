"""Memory limits that the kernel holds processes to: control groups, version 2, where we may make some.

That is so where a folder below /sys/fs/cgroup was delegated to this process, as `systemd-run --user --scope
-p Delegate=yes` does, and nobody else is in it. Elsewhere memory is watched (`watch.py`).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Collection
from pathlib import Path

_MOUNT, _OWN = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_MB = 1024 * 1024
_EVERYTHING = "max"


def delegated(
    family: Collection[int], mount: Path = _MOUNT, own: Path = _OWN, read_only: bool = False
) -> Path | None:
    """The folder in which this process may make groups with a limit of memory; none if it may not.

    A group either has processes or hands out memory to groups in it. So this process, and its `family`, who
    must be all that are in its group, move into one of their own there; not if it is only to be looked at.
    """
    try:
        line = next(line for line in own.read_text().splitlines() if line.startswith("0::/"))
        folder = mount / line.removeprefix("0::/")
        if "memory" not in (folder / "cgroup.controllers").read_text().split():
            return None
        members = [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]
        if not {*members} <= {*family} or not os.access(folder / "cgroup.subtree_control", os.W_OK):
            return None
        if not read_only:
            _move_down(folder, members)
    except (OSError, StopIteration, ValueError):
        return None
    return folder


def _move_down(folder: Path, members: Collection[int]) -> None:
    home = folder / "flowrun"
    home.mkdir(exist_ok=True)
    for pid in members:
        (home / "cgroup.procs").write_text(str(pid))
    (folder / "cgroup.subtree_control").write_text("+memory")


class Group:
    """A group for a worker and all that it starts; `OSError` if there can be none."""

    def __init__(self, folder: Path, pid: int) -> None:
        self.folder = folder / f"worker-{pid}"
        self.folder.mkdir()
        self._limit_mb = 0
        self._kills = 0
        try:
            with contextlib.suppress(OSError):
                (self.folder / "memory.oom.group").write_text("1")  # who loses a child to it is lost, too
            (self.folder / "cgroup.procs").write_text(str(pid))
            self._peak = os.open(self.folder / "memory.peak", os.O_RDWR | os.O_CLOEXEC)
        except OSError:
            self.remove()
            raise

    def begin(self, limit_mb: int) -> None:
        """The next attempt may have so much; 0 is all that there is. Its peak counts from now."""
        if limit_mb != self._limit_mb:
            most = str(limit_mb * _MB) if limit_mb else _EVERYTHING
            (self.folder / "memory.max").write_text(most)
            self._limit_mb = limit_mb
        with contextlib.suppress(OSError):  # kernels before 6.12 cannot: it is the most that any attempt took
            os.pwrite(self._peak, b"reset", 0)

    def peak_mb(self) -> int:
        """The most that the attempt took."""
        with contextlib.suppress(OSError, ValueError):
            return int(os.pread(self._peak, 32, 0)) // _MB
        return 0

    def killed(self) -> bool:
        """Whether the kernel has killed something in it since this was asked last."""
        kills = 0
        with contextlib.suppress(OSError, ValueError, IndexError):
            for line in (self.folder / "memory.events").read_text().splitlines():
                if line.startswith("oom_kill "):
                    kills = int(line.split()[1])
        moved, self._kills = kills > self._kills, kills
        return moved

    def remove(self) -> None:
        """Its processes are gone."""
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._peak)
        with contextlib.suppress(OSError):
            self.folder.rmdir()
