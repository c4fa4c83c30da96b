"""The daemon's socket: a file in the state folder that only its owner can use.

Who holds the lock beside it is the daemon. The kernel releases that however the daemon ends, so that a socket
which is left behind by a dead one is nobody's.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from flowc.plan.diagnostics import Place, refuse
from flowrun.service.messages import MAX_REQUEST, Answer, Refusal, Request, decode_answer, line
from flowrun.shell.log.home import Home

_SOCKET, _LOCK = "daemon.sock", "daemon.lock"
_MOST_CLIENTS = 64
_MAX_ANSWERS = 16 << 20  # bytes that wait for a client to read them
_PATIENCE_S = 120  # for an answer; reading a very large plan takes seconds


def hold(home: Home) -> IO[str]:
    """Become the daemon of a state folder, while the file is open; `Refused` (FR140) if there is one."""
    path = home.folder / _LOCK
    try:
        file = path.open("a+")
    except OSError as error:
        refuse("FR305", f"the state folder cannot be used: {error.strerror}", Place(str(path)))
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        pid = file.read(32).strip()
        file.close()
        refuse(
            "FR140",
            f"a daemon{f' (process {pid})' if pid.isdigit() else ''} has the state folder `{home.folder}`",
            hint="submit to that one, or name another folder with --state",
        )
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def listen(home: Home) -> socket.socket:
    """The socket of who holds the lock."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.setblocking(False)
    mask = os.umask(0o177)  # never, not even for a moment, there for others
    try:
        with _address(home.folder) as address:
            (home.folder / _SOCKET).unlink(missing_ok=True)
            listener.bind(address)
    except OSError as error:
        refuse(
            "FR305",
            f"the daemon's socket cannot be made: {error.strerror}",
            Place(str(home.folder / _SOCKET)),
            hint="name another folder with --state",
        )
    finally:
        os.umask(mask)
    listener.listen(_MOST_CLIENTS)
    return listener


def close(home: Home, listener: socket.socket) -> None:
    """Nobody listens any more."""
    listener.close()
    with contextlib.suppress(OSError):
        (home.folder / _SOCKET).unlink()


def ask(home: Home, request: Request) -> Answer:
    """The daemon's answer, other than a refusal, which is raised; `Refused` (FR141) if there is no daemon."""
    text = line(request)
    if len(text) > MAX_REQUEST:
        refuse("FR148", f"the daemon does not take requests of more than {MAX_REQUEST} bytes")
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_PATIENCE_S)
            with _address(home.folder) as address:
                asking.connect(address)
            asking.sendall(text)
            with asking.makefile("rb") as answers:
                text = answers.readline()
    except TimeoutError:
        refuse("FR141", f"the daemon of `{home.folder}` does not answer", hint="see what it prints")
    except OSError as error:
        why = "" if isinstance(error, (FileNotFoundError, ConnectionRefusedError)) else f": {error.strerror}"
        refuse(
            "FR141",
            f"no daemon serves the state folder `{home.folder}`{why}",
            hint="start one in the project's folder with `flowrun daemon`",
        )
    if not text.endswith(b"\n"):
        refuse("FR141", f"the daemon of `{home.folder}` ended before it answered", hint="see what it printed")
    answer = decode_answer(text)
    if isinstance(answer, Refusal):
        from flowc.plan.diagnostics import Refused

        raise Refused(*answer.diagnostics)
    return answer


class Client:
    """A connection: what came of a line, and what is still to be sent."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.gone = False
        self.busy = False  # with a request that takes more than a moment: the next one waits

    @property
    def said(self) -> bool:
        """Whether a line came that nobody has taken."""
        return not self.busy and b"\n" in self.incoming

    def answer(self, answer: Answer) -> None:
        """Send an answer, as far as the client reads; the rest waits for it."""
        self.outgoing += line(answer)
        self.send()

    def send(self) -> None:
        """Send what waits."""
        try:
            while self.outgoing:
                del self.outgoing[: self.connection.send(self.outgoing)]
        except BlockingIOError:
            self.gone = len(self.outgoing) > _MAX_ANSWERS
        except OSError:
            self.gone = True

    def lines(self) -> Iterator[bytes]:
        """The whole lines that came by now. One that is too long comes cut, and is the last."""
        try:
            while not self.busy:
                if (end := self.incoming.find(b"\n")) >= 0:
                    found = bytes(self.incoming[:end])
                    del self.incoming[: end + 1]
                    yield found
                elif len(self.incoming) > MAX_REQUEST:
                    yield bytes(self.incoming)
                    self.gone = True
                    break
                elif piece := self.connection.recv(1 << 16):
                    self.incoming += piece
                else:
                    self.gone = True
                    break
        except BlockingIOError:
            pass
        except OSError:
            self.gone = True


class Clients:
    """All connections. Nobody is waited for; with too many of them, the oldest has to go."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._clients: dict[int, Client] = {}

    def listens(self) -> dict[int, int]:
        """What to wait for: descriptors, with events of `poll`."""
        waits = {self._listener.fileno(): select.POLLIN}
        for descriptor, client in self._clients.items():
            events = (0 if client.busy else select.POLLIN) | (select.POLLOUT if client.outgoing else 0)
            if events:
                waits[descriptor] = events
        return waits

    def lines(self, ready: set[int]) -> Iterator[tuple[Client, bytes]]:
        """What clients said, of the descriptors at which something happened."""
        if self._listener.fileno() in ready:
            self._accept()
        for descriptor, client in list(self._clients.items()):
            if descriptor in ready or client.said:
                client.send()
                for text in client.lines():
                    yield client, text
            if client.gone:
                self._clients.pop(descriptor, None)
                client.connection.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._listener.accept()
        except OSError:  # it went away again, or there are too many files open
            return
        connection.setblocking(False)
        if _user(connection) not in (os.geteuid(), 0):
            connection.close()
            return
        while len(self._clients) >= _MOST_CLIENTS:
            oldest = next(iter(self._clients))
            self._clients.pop(oldest).connection.close()
        self._clients[connection.fileno()] = Client(connection)


def _user(connection: socket.socket) -> int:
    credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    _, uid, _ = struct.unpack("3i", credentials)
    return int(uid)


@contextlib.contextmanager
def _address(folder: Path) -> Iterator[str]:
    """The socket's path, short however long the folder's is: a socket's has room for 107 bytes."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{descriptor}/{_SOCKET}"
    finally:
        os.close(descriptor)
