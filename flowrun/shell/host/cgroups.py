"""Memory limits that the kernel holds processes to: control groups, version 2, where we may make some.

That is so where a folder below /sys/fs/cgroup was delegated to this process, as `systemd-run --user --scope
-p Delegate=yes` does, and nobody else is in it. Elsewhere memory is watched alone (`watch.py`).

The kernel's limit is a worker's, and covers all that it starts. It is no tighter than the one that is
watched: what a group holds counts from when its worker joined it, and may be as much more as the worker held
by then, since what it shares with others is charged to it when it writes there.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import NamedTuple

from flowrun.shell.host.memory import limit_mb

_SYSTEMD = Path("/run/systemd/system")  # is there where systemd runs the host
_MB = 1024 * 1024
_ROUND_MB = 16  # limits are multiples of it, so that they seldom have to be written
_EVERYTHING = "max"
_HOME = "flowrun"  # of this process, below the folder: one that has groups with limits may have no processes
_TRIES = 5  # to find all who are in a group, while they start others
Family = Callable[[], Collection[int]]  # tells who this process is, with all that it started


class Files(NamedTuple):
    """Where the kernel tells of groups."""

    mount: Path = Path("/sys/fs/cgroup")
    own: Path = Path("/proc/self/cgroup")


_FILES = Files()


def delegated(family: Family, files: Files = _FILES) -> Path | None:
    """The folder in which this process may make groups with a limit of memory; none if it may not.

    Nobody may be in it but its family.
    """
    with contextlib.suppress(OSError, StopIteration, ValueError):
        line = next(line for line in files.own.read_text().splitlines() if line.startswith("0::/"))
        folder = files.mount / line.removeprefix("0::/")
        hands_out = "memory" in (folder / "cgroup.controllers").read_text().split()
        if hands_out and _is_ours(folder) and _are_alone(family, folder):
            return folder
    return None


def _are_alone(family: Family, folder: Path) -> bool:
    """Asked in this order, and again: meanwhile some of the family are born, and others end."""
    return any({*_members(folder)} <= {*family()} for _ in range(_TRIES))


def _members(folder: Path) -> list[int]:
    return [int(pid) for pid in (folder / "cgroup.procs").read_text().split()]


def _is_ours(folder: Path) -> bool:
    """Whether it was handed over, not only within reach: root may write to all that systemd looks after."""
    if os.geteuid() == 0 and _SYSTEMD.exists():
        return os.getxattr(folder, "trusted.delegate") == b"1"
    return all(os.access(folder / name, os.W_OK) for name in (".", "cgroup.procs", "cgroup.subtree_control"))


class Groups:
    """The groups of this process's workers. Nothing is looked for, and nobody moves, before there is one."""

    def __init__(self, family: Family, files: Files = _FILES) -> None:
        self._family = family
        self._files = files
        self._folder: Path | None = None
        self._has_looked = False
        self._made: set[str] = set()
        self._numbers = itertools.count()

    def make(self) -> str:
        """A group for a further worker, which is to `confine` itself; empty if there can be none."""
        if not self._has_looked:
            self._has_looked = True
            self._folder = self._move_in()
        if self._folder is None:
            return ""
        group = self._folder / f"{_HOME}-{os.getpid()}-{next(self._numbers)}"  # of a worker
        try:
            group.mkdir()
        except OSError:
            return ""
        with contextlib.suppress(OSError):
            (group / "memory.oom.group").write_text("1")  # who loses a process to it is lost whole
        self._made.add(str(group))
        return str(group)

    def remove(self, group: str) -> None:
        """A worker is gone with all that it started."""
        self._made.discard(group)
        with contextlib.suppress(OSError):
            os.rmdir(group)

    def rest(self) -> None:
        """No more are needed for now: without any, all is as it was found."""
        if self._folder is None or self._made:
            return
        folder, self._folder, self._has_looked = self._folder, None, False
        with contextlib.suppress(OSError):
            (folder / "cgroup.subtree_control").write_text("-memory")
            _move(folder / _HOME, folder)
            (folder / _HOME).rmdir()

    def _move_in(self) -> Path | None:
        folder = delegated(self._family, self._files)
        if folder is None:
            return None
        try:
            (folder / _HOME).mkdir(exist_ok=True)
            _move(folder, folder / _HOME)
            (folder / "cgroup.subtree_control").write_text("+memory")
        except OSError:  # somebody came in meanwhile
            return None
        for left in _left(folder):
            with contextlib.suppress(OSError):
                left.rmdir()
        return folder


def _move(source: Path, target: Path) -> None:
    """Move all processes from a group to another."""
    for _ in range(_TRIES):
        members = _members(source)
        for pid in members:
            with contextlib.suppress(ProcessLookupError):  # it has ended
                (target / "cgroup.procs").write_text(str(pid))  # the kernel takes one at a time
        if not members:
            return


def _left(folder: Path) -> Iterator[Path]:
    """The groups that a process made which is gone, and could not remove."""
    for path in folder.iterdir():
        name, _, numbers = path.name.partition("-")
        pid, _, number = numbers.partition("-")
        if name == _HOME and pid.isdigit() and number.isdigit() and not Path(f"/proc/{pid}").exists():
            yield path


class Confined:
    """What a worker is held to. It joins its group once; then only the limit changes."""

    def __init__(self) -> None:
        self._group = ""
        self._limit_mb = 0

    def to(self, group: str, memory_mb: int, held_mb: int) -> None:
        """The next attempt asked for so much; 0 is without a limit. `held_mb` has this process already.

        Where the kernel does not take it, memory is watched, as it is in any case.
        """
        most_mb = limit_mb(memory_mb) + held_mb if memory_mb else 0
        most_mb = -(-most_mb // _ROUND_MB) * _ROUND_MB
        with contextlib.suppress(OSError):
            if most_mb != self._limit_mb:
                _write(f"{group}/memory.max", str(most_mb * _MB) if most_mb else _EVERYTHING)
                self._limit_mb = most_mb
            if group != self._group:
                _write(f"{group}/cgroup.procs", "0")  # whoever writes
                self._group = group


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)


def was_killed(group: str) -> bool:
    """Whether the kernel has killed something in a group for want of memory, the group's or the host's."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        for line in Path(group, "memory.events").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1]) > 0
    return False


def peak_mb(group: str) -> int:
    """The most that a group has held, pages of files included; 0 if that is not known (before Linux 5.19)."""
    with contextlib.suppress(OSError, ValueError):
        return int(Path(group, "memory.peak").read_text()) // _MB
    return 0
