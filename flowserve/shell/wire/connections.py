"""The open connections of an endpoint: how many there may be, their deadlines, and how they end."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from socket import AF_UNIX, socket
from typing import Generic, Protocol, TypeVar

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.addresses import Unix
from flowserve.core.wire.limits import Limits
from flowserve.shell.wire.listening import BACKLOG, address_of, reason

_SWEEP_S_MAX = 1.0
_SHAKE_S = 10.0


class Closing(Protocol):
    """What a connection is to those who keep it."""

    @property
    def active(self) -> bool:
        """Whether something is arriving, waiting or being answered."""

    def check(self, now: float) -> None:
        """Act on a deadline that has passed."""

    def close(self) -> None:
        """Close once what was written is sent."""


C = TypeVar("C", bound=Closing)


class Connections(Generic[C]):
    """Those of one endpoint. Made and used on the running loop."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._open: dict[C, None] = {}  # in the order in which they came
        self._changed = asyncio.Event()
        self._acceptor: asyncio.Server | None = None
        self._sweeper: asyncio.Task[None] | None = None
        self.draining = False

    def __iter__(self) -> Iterator[C]:
        """A copy: what is done with one may close it."""
        return iter(list(self._open))

    def __len__(self) -> int:
        return len(self._open)

    def __contains__(self, connection: C) -> bool:
        return connection in self._open

    async def listen(
        self, make: Callable[[], asyncio.Protocol], reserved: socket, tls: ssl.SSLContext | None
    ) -> None:
        """Accept connections at a reserved address, and check them. Raises `Refused` FS104.

        TLS is for ports: what comes by a Unix socket has crossed no network, and its permissions say who may
        ask. The socket's file is left to who has made it.
        """
        address = address_of(reserved)
        try:
            if isinstance(address, Unix):
                acceptor = await self._loop.create_unix_server(make, sock=reserved, backlog=BACKLOG)
            else:
                shake_s = _SHAKE_S if tls else None
                acceptor = await self._loop.create_server(
                    make, sock=reserved, backlog=BACKLOG, ssl=tls, ssl_handshake_timeout=shake_s
                )
        except OSError as error:  # another process has bound the same address meanwhile, and listens already
            refuse("FS104", f"the server cannot listen on `{address}`: {reason(error)}")
        self._acceptor = acceptor
        self._sweeper = self._loop.create_task(self.sweep())

    def opened(self, connection: C) -> bool:
        """Take note of a connection; false when there are too many."""
        self._open[connection] = None
        return len(self._open) <= self._limits.connections

    def closed(self, connection: C) -> None:
        """Forget a connection."""
        self._open.pop(connection, None)
        self.settled()

    def settled(self) -> None:
        """Let `drain` look again."""
        if self.draining:
            self._changed.set()

    async def sweep(self) -> None:
        """Check every connection's deadline, again and again: with one timer for all, setting one is free."""
        limits = self._limits
        shortest = min(limits.head_s, limits.body_s, limits.idle_s, limits.write_s, limits.linger_s)
        while True:
            await asyncio.sleep(min(_SWEEP_S_MAX, shortest / 2))
            now = self._loop.time()
            for connection in self:
                connection.check(now)

    async def drain(self) -> bool:
        """Accept no more and finish what was begun, within `drain_s`. Returns whether that was enough.

        Connections at rest stay open so long, so that `ready` can be seen to be false.
        """
        self.draining = True
        if self._acceptor is not None:
            self._acceptor.close()
        try:
            return await self._drained()
        finally:
            if self._sweeper is not None:
                self._sweeper.cancel()

    async def _drained(self) -> bool:
        end = self._loop.time() + self._limits.drain_s
        while self._open and (left := end - self._loop.time()) > 0:
            if not any(connection.active for connection in self._open):
                for connection in self:
                    connection.close()
            self._changed.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
        return not self._open


def peer_of(transport: asyncio.BaseTransport) -> object:
    """Who is at the other end, to be asked for when a connection is made: later nobody may know."""
    by_path = transport.get_extra_info("socket").family == AF_UNIX
    return AF_UNIX if by_path else transport.get_extra_info("peername")


def is_local(peer: object) -> bool:
    """Whether it is on this host: it came by a Unix socket or over the loopback interface."""
    if isinstance(peer, tuple):
        return ip_address(peer[0].partition("%")[0]).is_loopback
    return peer is AF_UNIX
