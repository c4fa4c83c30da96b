"""Load for HTTP servers, from one core, by a client that costs a few microseconds a request.

Unless told otherwise it never sleeps; it writes requests that were made before, and reads no more of an
answer than its status and its length. A client that did more would be measured in place of the server, and
one that waits in the kernel has to be woken: on virtual machines that takes longer than a server does.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import serving

_PATIENCE_S = 5.0


class Line:
    """A keep-alive connection with at most one request on its way. Reading never waits."""

    def __init__(self, host: str, port: int) -> None:
        self.socket = socket.create_connection((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.began = 0.0
        self._heads: dict[bytes, tuple[int, int]] = {}
        self._read = b""

    def ask(self, request: bytes) -> None:
        """Send a request, which must fit into the socket's buffer."""
        self.began = time.perf_counter()
        self.socket.send(request)

    def answer(self) -> int | None:
        """The status of the answer, once all of it is here."""
        try:
            came = self.socket.recv(65536)
        except BlockingIOError:
            return None
        if not came:
            raise ConnectionError("the server has closed a connection")
        if self._read:
            came = self._read + came
        end = came.find(b"\r\n\r\n") + 4
        found = self._heads.get(came[:end]) or self._look_at(came[:end])
        if end < 4 or len(came) < end + found[1]:
            self._read = came
            return None
        self._read = b""
        return found[0]

    def _look_at(self, head: bytes) -> tuple[int, int]:
        """Status and length, which are the same for the same head."""
        if not head:
            return 0, 0
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", head)
        assert length, head
        self._heads.clear()
        found = self._heads[head] = int(head[9:12]), int(length[1])
        return found


def asker(host: str, port: int, request: bytes, sleeps: bool = False) -> Callable[[], None]:
    """A function that sends a request and looks for the answer until it is here, or sleeps until it comes.

    It raises `OSError` when none comes, or another than 200.
    """
    line = Line(host, port)
    poll = select.poll()
    poll.register(line.socket, select.POLLIN)

    def ask() -> None:
        line.ask(request)
        end = line.began + _PATIENCE_S
        while (answer := line.answer()) is None:
            if sleeps:
                poll.poll(1000 * _PATIENCE_S)
            if time.perf_counter() > end:
                raise TimeoutError(f"no answer came within {_PATIENCE_S:.0f} s")
        if answer != 200:
            raise OSError(f"it answers {answer}")

    return ask


def closed_loop(
    host: str, port: int, request: bytes, connections: int, seconds: float, status: int = 200
) -> tuple[float, dict[str, float]]:
    """Answers a second and their latencies in microseconds, each connection asking again once answered.

    Raises `OSError` when another status is answered than this.
    """
    lines = {line.socket.fileno(): line for line in (Line(host, port) for _ in range(connections))}
    poll = select.epoll()
    for number in lines:
        poll.register(number, select.EPOLLIN)
    took: list[float] = []
    for line in lines.values():
        line.ask(request)
    began = 0.0
    for counted in (seconds / 5, seconds):  # the first warms up
        took.clear()
        began = time.perf_counter()
        end = began + counted
        while time.perf_counter() < end:
            for number, _ in poll.poll(0):
                line = lines[number]
                if (answer := line.answer()) is not None:
                    if answer != status:
                        raise OSError(f"it answers {answer}")
                    took.append(time.perf_counter() - line.began)
                    line.ask(request)
    rate = len(took) / (time.perf_counter() - began)
    for line in lines.values():
        line.socket.close()
    if not took:
        raise TimeoutError(f"no answer came within {seconds:.0f} s")
    return round(rate, 1), serving.percentiles([value * 1e6 for value in took])


class OpenLoop(msgspec.Struct):
    """What became of requests that were asked at a fixed rate, in microseconds."""

    took: dict[int, list[float]]
    """By status, from when a request was due, until its answer was read."""
    late: list[float]
    """How long after they were due requests were sent: what the client itself is to blame for."""
    unsent: int = 0
    """For these no connection was free."""


def open_loop(
    host: str, port: int, request: bytes, per_s: float, seconds: float, connections: int
) -> OpenLoop:
    """Ask at a fixed rate, whatever is answered, and wait for what is still to come for a second at most.

    A request counts from when it was due: one that the client sends late, since it was busy or had no
    processor, has waited as well.
    """
    lines = {line.socket.fileno(): line for line in (Line(host, port) for _ in range(connections))}
    poll = select.epoll()
    for number in lines:
        poll.register(number, select.EPOLLIN)
    free = deque(lines.values())
    found = OpenLoop({}, [])
    began, asked, total = time.perf_counter(), 0, int(per_s * seconds)
    while (passed := time.perf_counter() - began) < seconds + 1.0:
        while asked < total and (due := asked / per_s) <= passed:
            asked += 1
            if not free:
                found.unsent += 1
                continue
            line = free.popleft()
            line.ask(request)
            found.late.append((line.began - began - due) * 1e6)
            line.began = began + due
        for number, _ in poll.poll(0):
            line = lines[number]
            if (answer := line.answer()) is not None:
                now = time.perf_counter()
                found.took.setdefault(answer, []).append((now - line.began) * 1e6)
                free.append(line)
        if passed > seconds and len(free) == connections:
            break
    for line in lines.values():
        line.socket.close()
    return found


def place(process: int, cores: set[int]) -> None:
    """Let a process and all that it has started run on these cores."""
    for one in family(process):
        with contextlib.suppress(OSError):
            for thread in os.listdir(f"/proc/{one}/task"):
                os.sched_setaffinity(int(thread), cores)


def family(process: int) -> set[int]:
    """A process and all that it has started."""
    processes = {process}
    parents = {
        int(folder.name): _parent(folder) for folder in Path("/proc").iterdir() if folder.name.isdigit()
    }
    while found := {one for one, parent in parents.items() if parent in processes} - processes:
        processes |= found
    return processes


def _parent(folder: Path) -> int:
    try:
        return int((folder / "stat").read_text().rpartition(") ")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def pinned(run: Callable[..., Any], *arguments: Any) -> Any:
    """Run a client on its own core."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, serving.cores()[1])
    try:
        return run(*arguments)
    finally:
        os.sched_setaffinity(0, before)
