"""Leases: two flowrun processes on one host, of whichever users, never hold the same memory or the same GPU.

A file that all processes of a host open has a byte for each MB of memory and of each GPU. Who holds a
megabyte has its byte locked (open file description locks, fcntl(2)). The kernel takes the lock back when the
last process that has the file open from there is gone, however it ended: there is nothing to clean up, no
heartbeat, and no lease that outlives its holder.

What a process writes into the file at the beginning of what it locks is its number, so that others can say
who is in their way. It means something only as long as the bytes are locked.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3

from flowc.plan.diagnostics import Place, refuse
from flowrun.core.changes import Outsider
from flowrun.core.model import Capacity, Placement

_FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, process (0 in locks of this kind)
_CPUS = 1 << 40  # the byte of CPU 0, far beyond those of memory and of GPUs
_LINE = 1 << 24  # from the first byte of memory to that of GPU 0, and from GPU to GPU: 16 TiB in MB
_PID = struct.Struct("<i")
_PLACES = (Path("/run/lock"), Path("/dev/shm"), Path("/tmp"))


class Span(NamedTuple):
    """Bytes of the file, from `start` to before `end`."""

    start: int
    end: int


class Leases:
    """What this process holds of a host. `take` and `give_back` go by a key that the caller chooses."""

    def __init__(self, capacity: Capacity, pretended: bool = False, folder: Path | None = None) -> None:
        """Open the file of this host, or the one of those that pretend to have this memory and these GPUs."""
        like = blake3(repr((capacity.memory_mb, capacity.gpus)).encode()).hexdigest()[:12]
        name = f"flow-{like}" if pretended else "flow"
        self.path = (folder or _folder()) / f"{name}.leases"
        self._file = _open(self.path)
        self._memory = Span(0, min(capacity.memory_mb, _LINE))
        self._gpus = {
            gpu.index: Span((gpu.index + 1) * _LINE, (gpu.index + 1) * _LINE + max(1, gpu.memory_mb))
            for gpu in capacity.gpus
        }
        self._held: dict[object, list[Span]] = {}
        self._me = _PID.pack(os.getpid())

    def take(self, key: object, placement: Placement) -> bool:
        """Hold the memory and the GPUs of a placement, all or none; whether that was possible."""
        wanted = [(self._memory, placement.memory_mb)] if placement.memory_mb else []
        for index in placement.gpus:
            line = self._gpus[index]
            wanted.append((line, placement.gpu_memory_mb or line.end - line.start))
        if not wanted:
            return True
        held = self._held[key] = []
        for line, amount in wanted:
            if not self._take(line, amount, held):
                self.give_back(key)
                return False
        return True

    def give_back(self, key: object) -> None:
        """Hold it no longer; nothing if there is nothing held under that key."""
        for span in self._held.pop(key, ()):
            self._lock(span, fcntl.F_UNLCK)

    def take_cpu(self, index: int) -> bool:
        """Be the only process that holds its nodes to a CPU, until the end; whether nobody else does."""
        return self._lock(Span(_CPUS + index, _CPUS + index + 1), fcntl.F_WRLCK)

    def others(self) -> tuple[Outsider, ...]:
        """What other processes hold now, each by who it is."""
        memory = [(self._holder(span), span) for span in self._foreign(self._memory)]
        found = [
            Outsider(by, Placement(0, sum(_size(span) for of, span in memory if of == by)))
            for by in dict(memory)
        ]
        for index, line in self._gpus.items():
            shares = [(self._holder(span), span) for span in self._foreign(line)]
            for by in dict(shares):
                share = sum(_size(span) for of, span in shares if of == by)
                whole = share == _size(line)
                found.append(Outsider(by, Placement(0, gpus=(index,), gpu_memory_mb=0 if whole else share)))
        return tuple(found)

    def close(self) -> None:
        """Hold nothing any more."""
        os.close(self._file)
        self._held.clear()

    def _take(self, line: Span, amount: int, held: list[Span]) -> bool:
        """Lock so many bytes of a line, wherever they are free. What is locked is added to `held`."""
        for gap in self._free(line):
            part = Span(gap.start, min(gap.end, gap.start + amount))
            if not self._lock(part, fcntl.F_WRLCK):
                continue  # somebody was quicker
            held.append(part)
            os.pwrite(self._file, self._me, part.start * _PID.size)
            amount -= _size(part)
            if not amount:
                return True
        return False

    def _free(self, line: Span) -> Iterator[Span]:
        """What nobody seems to hold of a line, in order."""
        held = chain.from_iterable(self._held.values())
        mine = [span for span in held if line.start <= span.start < line.end]
        taken = sorted([*mine, *self._foreign(line)])
        at = line.start
        for span in [*taken, Span(line.end, line.end)]:
            if span.start > at:
                yield Span(at, span.start)
            at = max(at, span.end)

    def _foreign(self, line: Span) -> list[Span]:
        """What others hold of a line, in order."""
        found, at = [], line.start
        while at < line.end:
            query = struct.pack(_FLOCK, fcntl.F_WRLCK, os.SEEK_SET, at, line.end - at, 0)
            kind, _, start, length, _ = struct.unpack(
                _FLOCK, fcntl.fcntl(self._file, fcntl.F_OFD_GETLK, query)
            )
            if kind == fcntl.F_UNLCK:
                break
            end = start + length if length else line.end
            found.append(Span(max(start, at), min(end, line.end)))
            at = end
        return found

    def _lock(self, span: Span, kind: int) -> bool:
        wanted = struct.pack(_FLOCK, kind, os.SEEK_SET, span.start, _size(span), 0)
        try:
            fcntl.fcntl(self._file, fcntl.F_OFD_SETLK, wanted)
        except OSError as error:
            if error.errno not in (errno.EAGAIN, errno.EACCES):
                raise
            return False
        return True

    def _holder(self, span: Span) -> str:
        """Who has locked some bytes, as far as it can be told."""
        written = os.pread(self._file, _PID.size, span.start * _PID.size)
        pid = _PID.unpack(written)[0] if len(written) == _PID.size else 0
        with contextlib.suppress(OSError, KeyError):
            import pwd

            return (
                f"another flowrun (process {pid} of {pwd.getpwuid(os.stat(f'/proc/{pid}').st_uid).pw_name})"
            )
        return "another flowrun"


def _size(span: Span) -> int:
    return span.end - span.start


def _folder() -> Path:
    """A folder that everybody on the host may write to, and that is empty again when the host was started."""
    chosen = os.environ.get("FLOW_LEASES")
    if chosen:
        with contextlib.suppress(OSError):  # opening the file will tell
            Path(chosen).mkdir(parents=True, exist_ok=True)
        return Path(chosen)
    for place in _PLACES:
        with contextlib.suppress(OSError):
            if place.stat().st_mode & stat.S_IWOTH:
                return place
    return _PLACES[-1]


def _open(path: Path) -> int:
    """Open a file of everybody's; whose it is does not matter, as long as it is no link to another."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
    for _ in range(3):
        try:
            # Not by O_CREAT: in a folder with the sticky bit, the kernel may refuse that for another's file.
            return _regular(os.open(path, flags))
        except FileNotFoundError:
            with contextlib.suppress(FileExistsError):
                made = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o600)
                os.fchmod(made, 0o666)  # whatever the umask is
                return made
        except OSError as error:
            reason = error.strerror or str(error)
            break
    else:
        reason = "it comes and goes"
    hint = "remove the file when no flowrun runs, or name another folder: `export FLOW_LEASES=DIR`"
    refuse(
        "FR150",
        f"what other processes hold of this host cannot be known: {reason}",
        Place(str(path)),
        hint=hint,
    )


def _regular(file: int) -> int:
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it is no regular file")
    return file
