"""What workers print: read from two pipes each, and written to the log of the attempt that they run.

A log has a line for each line of output, with its time, as the Kubernetes container runtime interface has it:
`2026-11-22T09:11:27.123Z stdout F text`. `P` instead of `F` is a part of a line, which the next row of that
stream goes on with. Where nothing is printed there is no log.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from flowrun.shell.clock import now_ms

HEAD_BYTES = 64 << 20  # of a log that are kept from its beginning on
TAIL_BYTES = 1 << 20  # and of its end
_LONGEST_LINE = 16 * 1024  # bytes; what is longer is written in parts
_STREAMS = (b"stdout", b"stderr")
_CHUNK = 1 << 16  # bytes: all that a pipe holds


class Log:
    """The log of an attempt, which is there when something is written to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._begun = [b"", b""]  # lines without an end, of each stream
        self._written = 0
        self._last = 1  # the stream of the last row that was written
        self._tail: deque[bytes] = deque()
        self._tail_bytes = 0
        self._left_out = 0

    def add(self, stream: int, data: bytes) -> None:
        """Something was printed."""
        data = self._begun[stream] + data
        end = data.rfind(b"\n") + 1
        if end:
            mark = _mark(stream, b"F")
            self._write(stream, mark + data[: end - 1].replace(b"\n", b"\n" + mark) + b"\n")
        rest = data[end:]
        if len(rest) > _LONGEST_LINE:
            self._write(stream, _mark(stream, b"P") + rest + b"\n")
            rest = b""
        self._begun[stream] = rest

    def end(self) -> None:
        """No more is going to be printed."""
        for stream, rest in enumerate(self._begun):
            if rest:
                self._write(stream, _mark(stream, b"P") + rest + b"\n")
        if self._left_out:  # as the end of the line that was begun last
            self._put(_mark(self._last, b"F") + b"[%d bytes of the log are left out here]\n" % self._left_out)
        for rows in self._tail:
            self._put(rows)
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()

    def _write(self, stream: int, rows: bytes) -> None:
        if self._written < HEAD_BYTES:
            self._written += len(rows)
            self._last = stream
            self._put(rows)
            return
        self._tail.append(rows)
        self._tail_bytes += len(rows)
        while self._tail_bytes - len(self._tail[0]) > TAIL_BYTES:
            gone = len(self._tail.popleft())
            self._tail_bytes -= gone
            self._left_out += gone

    def _put(self, rows: bytes) -> None:
        # A full disk is no reason to end a node: what it prints is lost then, what it computes not yet.
        with contextlib.suppress(OSError):
            if self._file is None:
                self._path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self._path.open("ab", buffering=0)
            self._file.write(rows)


class Outputs:
    """The reading ends of a worker's pipes, and the log of the attempt that it runs."""

    def __init__(self) -> None:
        pipes = [os.pipe2(os.O_CLOEXEC) for _ in _STREAMS]
        self.reads = [read for read, _ in pipes]
        self.writes = [write for _, write in pipes]  # for the worker
        self._poll = select.poll()
        for read in self.reads:
            os.set_blocking(read, False)
            self._poll.register(read, select.POLLIN)
        self.heard_ms = 0  # when something was last printed
        self._path: Callable[[], Path] | None = None
        self._log: Log | None = None

    def begin(self, path: Callable[[], Path]) -> None:
        """What comes from now on is of this attempt."""
        self._path = path

    def read(self, stream: int) -> bool:
        """Take some of what is there of a stream; false if nothing is ever going to come again."""
        return self._some(stream) != b""

    def drain(self) -> None:
        """Take all that is there by now."""
        for read, _ in self._poll.poll(0):  # one question for both, and no exception if there is nothing
            self._some(self.reads.index(read))

    def _some(self, stream: int) -> bytes | None:
        """What is there, up to a bound; `None` if nothing is there yet, nothing at all at the end."""
        try:
            data = os.read(self.reads[stream], _CHUNK)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        if data:
            self.heard_ms = now_ms()
        if data and self._path is not None:
            if self._log is None:
                self._log = Log(self._path())
            self._log.add(stream, data)
        return data

    def end(self) -> None:
        """The attempt is over."""
        if self._log is not None:
            self._log.end()
            self._log = None
        self._path = None


def text_of(log: bytes) -> str:
    """What was printed, without times and streams: the parts of a line put together again."""
    return "".join(_texts(log)).replace("\r\n", "\n")


def _texts(log: bytes) -> Iterator[str]:
    begun: dict[bytes, bytes] = {}
    for row in log.split(b"\n"):
        _, _, rest = row.partition(b" ")
        stream, _, rest = rest.partition(b" ")
        tag, _, text = rest.partition(b" ")
        if stream not in _STREAMS:
            continue  # a row that is cut, or the end
        text = begun.pop(stream, b"") + text
        if tag == b"P":
            begun[stream] = text
        else:
            yield text.decode("utf-8", "replace") + "\n"
    for text in begun.values():
        yield text.decode("utf-8", "replace")


_second, _stamp = -1, b""


def _mark(stream: int, tag: bytes) -> bytes:
    """What a row begins with."""
    global _second, _stamp
    second, ms = divmod(time.time_ns() // 1_000_000, 1000)
    if second != _second:
        _second, _stamp = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second)).encode()
    return b"%b.%03dZ %b %b " % (_stamp, ms, _STREAMS[stream], tag)
