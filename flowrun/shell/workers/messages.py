"""What the scheduler, the zygotes and the workers say to each other: MessagePack over Unix sockets.

The scheduler has a stream to each zygote and one to each worker. It makes them, and passes the other end on
together with the order to fork.
"""

from __future__ import annotations

import array
import contextlib
import functools
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

import msgspec

from flowrun.core.changes import Point
from flowrun.core.model import Artifact, Failure, Usage

_MOST_FILES = 3
_CHUNK = 1 << 16
_LENGTH = struct.Struct("<I")
_NO_USAGE = Usage()


class Message(msgspec.Struct, frozen=True, tag_field="message", omit_defaults=True):
    """A message."""


class Prepare(Message, frozen=True, tag="prepare"):
    """To the first zygote, first of all: what workers will need. The paths are absolute."""

    root: str  # of the modules that define the operators
    store: str
    log: str  # for what imports print
    project: str  # the folder that the run was started in
    operators: tuple[str, ...]
    imports: tuple[str, ...]  # modules that operators import


class Fork(Message, frozen=True, tag="fork"):
    """To a zygote: start a worker, `fresh` if it is to be a new interpreter.

    With it go its socket, and where its standard output and error go.
    """

    files: ClassVar[int] = 3

    number: int  # of workers and zygotes, in the order of their start
    folder: str  # its working directory, for the worker to make and to empty
    fresh: bool = False


class Branch(Message, frozen=True, tag="branch"):
    """To a zygote: fork another one that imports modules. Its socket goes with it."""

    files: ClassVar[int] = 1

    number: int
    imports: tuple[str, ...]


class Signal(Message, frozen=True, tag="signal"):
    """To a zygote: send a signal to a worker of its own and to all that it started."""

    number: int
    signal: int


class Spawn(Message, frozen=True, tag="spawn"):
    """To a worker: run an attempt.

    `args` are argument trees in which references are `{"artifact": SOURCE, "at": [...]}` or `{"value": ...}`.
    """

    node: str
    attempt: int
    op: str
    code: str
    args: dict[str, Any]
    cpus: float
    gpus: tuple[int, ...] | None  # None: the host has none to hand out
    imports: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()  # environment variables that are secrets of other operators
    run: str = ""
    scratch: str = ""  # the folder that the node's attempts have in common; it need not be there
    isolation: str = "warm"
    on: tuple[int, ...] = ()  # the CPUs that it is held to; none if it may run on all
    pickles: bool = False  # whether what has no other stored form may be pickled
    memory_mb: int = 0  # that it asked for; 0: it is not limited
    group: str = ""  # in which the kernel is to hold it to that, if it can

    @property
    def alone(self) -> bool:
        """Whether the attempt has its process for itself: a CUDA context cannot be handed back."""
        return self.isolation != "warm" or bool(self.gpus)

    @property
    def threads(self) -> int:
        """How many threads libraries may use at a time."""
        return max(1, int(self.cpus))


class Ended(Message, frozen=True, tag="ended"):
    """From a worker: what came of the operator. The artifact is durable.

    `fit`: it may have another order. `kept_kb` is the memory that it holds without one.
    """

    node: str
    attempt: int
    artifact: Artifact | None = None
    failure: Failure | None = None
    usage: Usage = _NO_USAGE
    run: str = ""
    fit: bool = False
    kept_kb: int = 0


class Told(Message, frozen=True, tag="told"):
    """From a worker: what the operator has logged since it last told."""

    node: str
    attempt: int
    run: str
    points: tuple[Point, ...] = ()
    notes: tuple[str, ...] = ()
    artifacts: dict[str, Artifact] = {}  # durable


class Forked(Message, frozen=True, tag="forked"):
    """From a zygote: a worker is there."""

    number: int
    pid: int


class Unforked(Message, frozen=True, tag="unforked"):
    """From a zygote: there can be no such process."""

    number: int
    why: str


class Reaped(Message, frozen=True, tag="reaped"):
    """From a zygote: a worker, or a zygote, is gone with all that it started. `status` is a wait status."""

    number: int
    status: int
    usage: Usage = _NO_USAGE


class Loaded(Message, frozen=True, tag="loaded"):
    """From a zygote: it has imported modules, and how many milliseconds each took.

    It `has` these of those that operators import.
    """

    imports: dict[str, int]
    has: frozenset[str]


Order = Prepare | Fork | Branch | Signal
News = Forked | Unforked | Reaped | Loaded
_orders = msgspec.msgpack.Decoder(Order)
_attempts = msgspec.msgpack.Decoder(Spawn)
_encode = msgspec.msgpack.Encoder().encode


def frame(message: Message) -> bytes:
    """A message as it goes over the stream, whatever its size."""
    data = _encode(message)
    return _LENGTH.pack(len(data)) + data


def decode_news(body: bytes) -> News:
    """What a zygote tells; `msgspec.DecodeError`."""
    return _news().decode(body)


def decode_report(body: bytes) -> Ended | Told:
    """What a worker tells; `msgspec.DecodeError`."""
    return _reports().decode(body)


# Made when the first one comes: by then nobody waits for the scheduler.
@functools.cache
def _news() -> msgspec.msgpack.Decoder[News]:
    return msgspec.msgpack.Decoder(News)


@functools.cache
def _reports() -> msgspec.msgpack.Decoder[Ended | Told]:
    return msgspec.msgpack.Decoder(Ended | Told)


def receive_order(source: socket.socket) -> tuple[Order, list[int]] | None:
    """A zygote's next order, with the descriptors that came with it; `None` when the sender is gone."""
    files: list[int] = []
    try:
        # A frame is sent by a call of its own: its descriptors come with its first byte.
        head, ancillary, *_ = source.recvmsg(
            _LENGTH.size, socket.CMSG_SPACE(_MOST_FILES * 4), socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionError:
        return None
    for _, _, data in ancillary:
        files += array.array("i", data)
    body = _body(source, head)
    if body is None:
        close_all(files)
        return None
    return _orders.decode(body), files


def receive_attempt(source: socket.socket) -> Spawn | None:
    """A worker's next order; `None` when the scheduler wants no more of it."""
    try:
        data = source.recv(_CHUNK)
    except ConnectionError:
        return None
    body = _body(source, data[: _LENGTH.size], data[_LENGTH.size :]) if data else None
    return None if body is None else _attempts.decode(body)


def close_all(descriptors: Sequence[int]) -> None:
    """Close descriptors, whatever becomes of it."""
    for descriptor in descriptors:
        with contextlib.suppress(OSError):
            os.close(descriptor)


class Incoming:
    """What comes over a stream, as whole messages."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The messages that are complete with these bytes."""
        data = self._rest + data if self._rest else data
        start, end = 0, len(data)
        while end - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(data, start)
            if end - start - _LENGTH.size < length:
                break
            start += _LENGTH.size + length
            yield data[start - length : start]
        self._rest = data[start:]


def _body(source: socket.socket, head: bytes, begun: bytes = b"") -> bytes | None:
    """The rest of a message of which the first bytes have come."""
    while len(head) < _LENGTH.size:
        piece = _some(source, _LENGTH.size - len(head))
        if not piece:
            return None
        head += piece
    (length,) = _LENGTH.unpack(head)
    if len(begun) == length:
        return begun
    pieces, missing = [begun], length - len(begun)
    while missing:
        piece = _some(source, missing)
        if not piece:
            return None
        pieces.append(piece)
        missing -= len(piece)
    return b"".join(pieces)


def _some(source: socket.socket, most: int) -> bytes:
    try:
        return source.recv(min(most, 1 << 20))
    except ConnectionError:
        return b""
