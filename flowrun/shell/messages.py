"""What the scheduler, the zygote and the workers say to each other. MessagePack over Unix sockets."""

from __future__ import annotations

import socket
import struct
from typing import Any

import msgspec

from flowrun.core.model import Artifact, Failure, Usage

MAX_REPORT = 64 * 1024  # bytes of one report: far below a socket's buffer, so that nobody blocks for long
_LENGTH = struct.Struct("<I")


class Message(msgspec.Struct, frozen=True, tag_field="message", omit_defaults=True):
    """A message."""


class Prepare(Message, frozen=True, tag="prepare"):
    """To the zygote, first of all: what its workers will need. The paths are absolute."""

    root: str  # of the modules that define the operators
    store: str
    log: str  # for what imports print
    operators: tuple[str, ...]


class Spawn(Message, frozen=True, tag="spawn"):
    """To the zygote: run an attempt in a new process.

    `args` are argument trees in which references are `{"artifact": SOURCE, "at": [...]}` or `{"value": ...}`.
    """

    node: str
    attempt: int
    op: str
    code: str
    args: dict[str, Any]
    log: str
    cpus: float
    gpus: tuple[int, ...] | None  # None: the host has none to hand out
    imports: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()  # environment variables that are secrets of other operators
    loaded: dict[str, int] = {}  # the zygote adds what it loaded for the attempt, in milliseconds
    run: str = ""
    scratch: str = ""  # the folder that the node's attempts have in common; it need not be there
    pickles: bool = False  # whether what has no other stored form may be pickled


class Signal(Message, frozen=True, tag="signal"):
    """To the zygote: send a signal to an attempt's whole process group."""

    node: str
    attempt: int
    signal: int
    run: str = ""


class Ended(Message, frozen=True, tag="ended"):
    """From a worker, about to exit: what came of the operator. The artifact is durable."""

    node: str
    attempt: int
    artifact: Artifact | None = None
    failure: Failure | None = None
    usage: Usage = Usage()
    run: str = ""


class Reaped(Message, frozen=True, tag="reaped"):
    """From the zygote: the process is gone. `status` is a wait status."""

    node: str
    attempt: int
    status: int
    usage: Usage
    run: str = ""


Order = Prepare | Spawn | Signal
_orders = msgspec.msgpack.Decoder(Order)
_reports = msgspec.msgpack.Decoder(Ended | Reaped)
encode = msgspec.msgpack.Encoder().encode


def frame(order: Order) -> bytes:
    """An order as it goes over the stream, whatever its size."""
    data = encode(order)
    return _LENGTH.pack(len(data)) + data


def receive_order(source: socket.socket) -> Order | None:
    """The next order; `None` when the sender is gone."""
    head = _exactly(source, _LENGTH.size)
    body = _exactly(source, _LENGTH.unpack(head)[0]) if head else None
    return _orders.decode(body) if body else None


def receive_report(source: socket.socket) -> Ended | Reaped | None:
    """The next report, without waiting; `None` when there is none."""
    try:
        data = source.recv(MAX_REPORT, socket.MSG_DONTWAIT)
    except BlockingIOError:
        return None
    return _reports.decode(data) if data else None


def _exactly(source: socket.socket, size: int) -> bytes | None:
    pieces = []
    while size:
        try:
            piece = source.recv(min(size, 1 << 20))
        except ConnectionError:
            return None
        if not piece:
            return None
        pieces.append(piece)
        size -= len(piece)
    return b"".join(pieces)
