"""The scheduler's ends of its sockets and pipes: what is sent, and what has come."""

from __future__ import annotations

import errno
import functools
import socket
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from flowrun.shell.readiness import Readiness
from flowrun.shell.workers.messages import Ended, Incoming, Message, Spawn, close_all, frame
from flowrun.shell.workers.output import Outputs

if TYPE_CHECKING:
    from flowrun.shell.workers.zygotes import Zygote

_CHUNK = 1 << 16


class Stream:
    """A socket to a process. Nobody is waited for: what it does not take yet is sent when it does."""

    def __init__(
        self, connection: socket.socket, readiness: Readiness, hear: Callable[[bytes], None]
    ) -> None:
        self._socket = connection
        self._readiness = readiness
        self._hear = hear
        self._incoming = Incoming()
        self._outgoing: deque[tuple[memoryview, list[int]]] = deque()
        connection.setblocking(False)
        self._descriptor = connection.fileno()
        readiness.add(self._descriptor, self._happened)
        self.is_open = True  # until the other end is closed
        self.was_cut = False  # something that was sent has not been read, and never will be
        self._waits = False  # for room to write

    def send(self, message: Message, files: list[int] | None = None) -> None:
        """Send a message, with descriptors, which are closed then. If nobody is there, it is lost."""
        self._outgoing.append((memoryview(frame(message)), files or []))
        if len(self._outgoing) == 1:
            self._flush()

    def listen(self) -> None:
        """Hear what has come by now, and whether more can come."""
        while self.is_open:
            try:
                data = self._socket.recv(_CHUNK)
            except BlockingIOError:
                return
            except OSError:  # it went away with something unread
                data, self.was_cut = b"", True
            if not data:
                self.is_open = False
                self._readiness.remove(self._descriptor)
            for body in self._incoming.feed(data):
                self._hear(body)
            if len(data) < _CHUNK:
                return

    def close(self) -> None:
        """Say no more, and hear no more."""
        if self._socket.fileno() < 0:
            return  # its number may be another's by now
        self.is_open = False
        self._readiness.remove(self._descriptor)
        self._socket.close()
        self._forget()

    def _happened(self) -> None:
        if self._outgoing:
            self._flush()
        self.listen()

    def _flush(self) -> None:
        try:
            while self._outgoing:
                data, files = self._outgoing[0]
                if files:
                    sent = socket.send_fds(self._socket, [data], files)
                    close_all(files)
                else:
                    sent = self._socket.send(data)
                if sent == len(data):
                    self._outgoing.popleft()
                else:
                    self._outgoing[0] = (data[sent:], [])
        except BlockingIOError:
            pass
        except OSError as error:
            if error.errno != errno.ETOOMANYREFS:  # descriptors on their way; there is room again before long
                self.was_cut = True  # who should have read it is gone, which is found out in another way
                self._forget()
        if self._waits != bool(self._outgoing) and self.is_open:
            self._waits = not self._waits
            self._readiness.also_out(self._descriptor, self._waits)

    def _forget(self) -> None:
        for _, files in self._outgoing:
            close_all(files)
        self._outgoing.clear()


class Worker:
    """A worker, and the attempt that it runs.

    `ended` is what was heard of that, while the process is still to go. `doomed`: it may not have another.
    """

    def __init__(self, number: int, place: int, zygote: Zygote) -> None:
        self.number = number
        self.place = place  # of its working directory
        self.zygote = zygote
        self.pid = 0
        self.order: Spawn | None = None
        self.threads = 0  # that libraries were told to use; 0: it had no order yet
        self.ended: Ended | None = None
        self.doomed = False
        self.cpu_ms = 0  # that its attempts have used
        self.on: tuple[int, ...] = ()  # the CPUs that its last attempt was held to
        self.kept_kb = 0  # what it holds between two attempts; 0: it had none yet
        self.group = ""  # in which the kernel holds it to its limits of memory, if one had some
        self.outputs = Outputs()
        self.stream: Stream

    def connect(self, stream: Stream, readiness: Readiness) -> None:
        """Begin to listen to it."""
        self.stream = stream
        for i, read in enumerate(self.outputs.reads):
            readiness.add(read, functools.partial(self._read, i, read, readiness))

    def disconnect(self, readiness: Readiness) -> None:
        """Its process is gone."""
        self.stream.close()
        self.outputs.end()
        for read in self.outputs.reads:
            readiness.remove(read)
        close_all(self.outputs.reads)

    def _read(self, stream: int, read: int, readiness: Readiness) -> None:
        if not self.outputs.read(stream):
            readiness.remove(read)
