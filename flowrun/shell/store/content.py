"""Files named after the BLAKE3 hash of what is in them: written while they are hashed, verified when read."""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from blake3 import blake3

from flowrun.shell.store.files import LARGE_BYTES, SEALED_NS, Partial, make_folder, sync

# Files up to this size are verified whenever they are read (3 ms at most). Larger ones are mapped unread, so
# that passing on a gigabyte costs nothing; they are verified if they were written to, and when a run is
# resumed.
VERIFIED_BYTES = 16 * 1024 * 1024
_CHUNK = 8 * 1024 * 1024


class Damaged(ValueError):
    """What lies in the store under a hash is missing, or is not what its hash says."""

    def __init__(self, digest: str, why: str) -> None:
        super().__init__(f"artifact {digest[:12]} {why}")
        self.digest = digest
        self.artifact = digest  # of which this is a part, or which it is


class Content:
    """Files by content, below a folder. Any number of processes may read and write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = -1

    def path(self, digest: str) -> Path:
        """Where content with this hash lies."""
        return self.folder / digest[:2] / digest[2:]

    def add(self, pieces: Sequence[memoryview]) -> str:
        """Keep what the pieces come to, durably; its hash. `OSError` if that is not possible."""
        large = sum(map(len, pieces)) >= LARGE_BYTES
        digest = "" if large else _hash(pieces)
        if digest and self.hold(digest):
            return digest
        partial = Partial(self.folder)

        def write(wanted: Callable[[], bool]) -> None:
            for piece in pieces:
                for start in range(0, len(piece), _CHUNK):
                    partial.write(piece[start : start + _CHUNK])
                    if not wanted():
                        return
            partial.seal()

        if large:
            return self._finish(partial, write, lambda: _hash(pieces, others=1))
        try:
            write(lambda: True)
            self._keep(partial, digest)
        finally:
            partial.drop()
        return digest

    def adopt(self, partial: Partial) -> str:
        """Keep a file that is written already; its hash."""
        return self._finish(partial, lambda wanted: partial.seal(), lambda: _hash_file(partial.path))

    def _finish(
        self, partial: Partial, write: Callable[[Callable[[], bool]], None], hash_it: Callable[[], str]
    ) -> str:
        """Write and hash at once. What turns out to be there already is not written to its end."""
        wanted = True
        writing = _Thread(lambda: write(lambda: wanted))
        try:
            digest = hash_it()
            wanted = not self.hold(digest)
        except BaseException:
            wanted = False
            raise
        finally:
            writing.join()
            if not wanted:
                partial.drop()
        try:
            if wanted:
                writing.result()
                self._keep(partial, digest)
        finally:
            partial.drop()
        return digest

    def _keep(self, partial: Partial, digest: str) -> None:
        target = self.path(digest)
        make_folder(target.parent)
        with self.locked():
            partial.rename(target)
        sync(target.parent)

    def hold(self, digest: str) -> bool:
        """Whether content is there and intact. Who refers to it anew asks this first.

        It counts as new from now on, so that it is not removed before that reference can be seen.
        """
        path = self.path(digest)
        if not path.exists():
            return False
        with contextlib.suppress(OSError), self.locked():  # of a read-only store, nothing is removed
            # Whatever is set: what counts is when something was, and that only the kernel can say.
            os.utime(path, ns=(SEALED_NS, path.stat().st_mtime_ns))
        return self.is_intact(digest)

    def is_intact(self, digest: str) -> bool:
        """Whether content is there, and what its hash says."""
        try:
            return _hash_file(self.path(digest)) == digest
        except OSError:
            return False

    def checked(self, digest: str) -> Path:
        """The file with some content; `Damaged` if it is not there, or is known or found not to be intact."""
        path = self.path(digest)
        try:
            found = path.stat()
        except OSError as error:
            raise Damaged(digest, f"cannot be read: {error.strerror}") from None
        touched = found.st_mtime_ns != SEALED_NS
        if found.st_size <= VERIFIED_BYTES or touched:
            if not self.is_intact(digest):
                raise Damaged(digest, "is damaged: its content does not match its hash")
            if touched:  # it was copied, perhaps: there is no need to look again
                with contextlib.suppress(OSError):
                    os.utime(path, ns=(found.st_atime_ns, SEALED_NS))
        return path

    def read(self, digest: str) -> bytes:
        """Content; `Damaged` if it is not there or not intact."""
        try:
            content = self.path(digest).read_bytes()
        except OSError as error:
            raise Damaged(digest, f"cannot be read: {error.strerror}") from None
        if blake3(content, max_threads=_threads(len(content))).hexdigest() != digest:
            raise Damaged(digest, "is damaged: its content does not match its hash")
        return content

    def remove(self, digest: str, before_ns: int) -> bool:
        """Remove content, unless somebody has come to refer to it since a moment."""
        path = self.path(digest)
        with self.locked(exclusive=True):
            try:
                if path.stat().st_ctime_ns >= before_ns:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    @contextlib.contextmanager
    def locked(self, exclusive: bool = False) -> Iterator[None]:
        """While names are given or taken away. A record lock: forked workers do not inherit it."""
        if self._lock < 0:
            self._lock = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        fcntl.lockf(self._lock, fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.lockf(self._lock, fcntl.LOCK_UN)


class _Thread:
    """A function that runs meanwhile."""

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._function()
        except BaseException as error:
            self._error = error

    def join(self) -> None:
        self._thread.join()

    def result(self) -> None:
        if self._error is not None:
            raise self._error


def _hash(pieces: Sequence[memoryview], others: int = 0) -> str:
    hasher = blake3(max_threads=max(1, _threads(sum(map(len, pieces))) - others))
    for piece in pieces:
        hasher.update(piece)
    digest: str = hasher.hexdigest()
    return digest


def _hash_file(path: Path) -> str:
    digest: str = blake3(max_threads=_threads(path.stat().st_size)).update_mmap(path).hexdigest()
    return digest


def _threads(size: int) -> int:
    """How many threads a hash is worth, of the CPUs that this process has."""
    return min(4, len(os.sched_getaffinity(0))) if size >= LARGE_BYTES else 1
