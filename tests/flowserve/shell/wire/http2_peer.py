"""A client that says whatever it is told to: frames by hand, with the `hpack` package for header blocks."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import threading
from collections.abc import AsyncIterator
from typing import NamedTuple

import hpack
import numpy as np
from tritonclient.grpc import service_pb2 as theirs

from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.http2.frames import (
    ACK,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    WINDOW_UPDATE,
    ErrorCode,
    frame,
    settings,
)
from flowserve.core.wire.http2.messages import prefix
from flowserve.core.wire.limits import Limits
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.grpc.server import GrpcServer
from flowserve.shell.wire.listening import bind
from flowserve.shell.wire.security import Security

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("y", FP32, (-1,)),))
INFER = "/inference.GRPCInferenceService/ModelInfer"
STREAM = "/inference.GRPCInferenceService/ModelStreamInfer"
LIVE = "/inference.GRPCInferenceService/ServerLive"


def double(feed, outputs):
    return [feed["x"] * 2]


def request(value: float = 3, model: str = "double", width: int = 1, **named) -> bytes:
    message = theirs.ModelInferRequest(model_name=model, **named)
    message.inputs.add(name="x", datatype="FP32", shape=[width])
    message.raw_input_contents.append(np.full(width, value, np.float32).tobytes())
    return message.SerializeToString()


def given(message: bytes) -> list[float]:
    response = theirs.ModelInferResponse.FromString(message)
    return np.frombuffer(response.raw_output_contents[0], "<f4").tolist()


def framed(message: bytes) -> bytes:
    return prefix(len(message)) + message


class Frame(NamedTuple):
    kind: int
    flags: int
    number: int
    payload: bytes

    @property
    def code(self) -> ErrorCode:
        """Of RST_STREAM and GOAWAY."""
        at = 4 if self.kind == GOAWAY else 0
        return ErrorCode(int.from_bytes(self.payload[at : at + 4]))


class Answer(NamedTuple):
    head: dict[str, str]
    messages: list[bytes]
    trailers: dict[str, str]

    @property
    def status(self) -> int:
        return int((self.trailers or self.head)["grpc-status"])

    @property
    def said(self) -> str:
        return (self.trailers or self.head).get("grpc-message", "")


class Peer:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.encoder, self.decoder = hpack.Encoder(), hpack.Decoder()
        self.kept: list[Frame] = []

    def send(self, *frames: bytes) -> None:
        self.writer.write(b"".join(frames))

    def head(self, path: str = INFER, **more: str) -> bytes:
        fields = {
            ":method": "POST",
            ":scheme": "http",
            ":path": path,
            "te": "trailers",
            "content-type": "application/grpc",
        }
        return self.encoder.encode([*fields.items(), *((k.replace("_", "-"), v) for k, v in more.items())])

    def open(self, number: int, path: str = INFER, **more: str) -> bytes:
        """A stream that will have data."""
        return frame(HEADERS, END_HEADERS, number, self.head(path, **more))

    def call(self, number: int, message: bytes, path: str = INFER, **more: str) -> bytes:
        """A whole unary call."""
        return self.open(number, path, **more) + frame(DATA, END_STREAM, number, framed(message))

    async def next(self) -> Frame | None:
        """The next frame, None at the end."""
        try:
            high, low, kind, flags, number = struct.unpack(">HBBBL", await self.reader.readexactly(9))
            return Frame(kind, flags, number, await self.reader.readexactly(high << 8 | low))
        except (asyncio.IncompleteReadError, ConnectionResetError):
            return None

    async def until(self, kind: int, number: int | None = None, flags: int = 0) -> Frame:
        """The next frame of a kind; those before it are kept, for who asks for them later."""

        def wanted(came: Frame) -> bool:
            return came.kind == kind and number in (None, came.number) and came.flags & flags == flags

        for came in self.kept:
            if wanted(came):
                self.kept.remove(came)
                return came
        while (came := await self.next()) is not None:
            if wanted(came):
                return came
            self.kept.append(came)
        raise AssertionError(f"the connection ended without {kind}; before that: {self.kept}")

    async def goaway(self) -> ErrorCode:
        return (await self.until(GOAWAY)).code

    async def ended(self) -> None:
        """Wait for the server to close."""
        while await self.next() is not None:
            pass

    async def answer(self, number: int) -> Answer:
        """All of a stream's answer."""
        head, data, blocks = {}, b"", []
        while True:
            came = await self._of(number)
            if came.kind == DATA:
                data += came.payload
            elif came.kind == HEADERS:
                blocks.append(dict(self.decoder.decode(came.payload)))
                if came.flags & END_STREAM:
                    break
            else:
                raise AssertionError(f"stream {number} was reset: {came.code!r}")
        messages = []
        while data:
            length = int.from_bytes(data[1:5])
            messages.append(data[5 : 5 + length])
            data = data[5 + length :]
        head = blocks[0]
        return Answer(head, messages, blocks[1] if len(blocks) > 1 else {})

    async def _of(self, number: int) -> Frame:
        kinds = (DATA, HEADERS, RST_STREAM)
        for came in self.kept:
            if came.number == number and came.kind in kinds:
                self.kept.remove(came)
                return came
        while (came := await self.next()) is not None:
            if came.number == number and came.kind in kinds:
                return came
            self.kept.append(came)
        raise AssertionError(f"the connection ended within stream {number}; before that: {self.kept}")


class Running:
    """A server in this loop, and where it is. Its model `held` answers when all is over."""

    def __init__(self, server: GrpcServer, port: int) -> None:
        self.server, self.port = server, port
        self.peers: list[Peer] = []

    async def connect(self) -> Peer:
        """A connection on which nothing has been said."""
        self.peers.append(Peer(*await asyncio.open_connection("127.0.0.1", self.port)))
        return self.peers[-1]

    async def peer(self, values: dict[int, int] | None = None) -> Peer:
        """A connection that is ready for calls."""
        peer = await self.connect()
        peer.send(PREFACE, settings(values or {}))
        await peer.until(SETTINGS)
        await peer.until(WINDOW_UPDATE, 0)
        await peer.until(SETTINGS, flags=ACK)
        peer.send(frame(SETTINGS, ACK, 0))
        return peer


@contextlib.asynccontextmanager
async def running(
    limits: Limits = Limits(),  # noqa: B008
    security: Security = Security(),  # noqa: B008
    **models,
) -> AsyncIterator[Running]:
    release = threading.Event()

    def held(feed: dict, outputs: list) -> list:
        release.wait(20)
        return [feed["x"]]

    runs = {"double": double, "held": held, **models}
    serving = Serving.of(Model(name, 1, SIGNATURE, run) for name, run in runs.items())
    engine = LoopEngine(asyncio.get_running_loop())
    server = GrpcServer(serving, engine, "1.2", limits, security)
    reserved = bind("127.0.0.1", 0)
    await server.listen(reserved)
    host = Running(server, reserved.getsockname()[1])
    try:
        yield host
    finally:
        release.set()
        for peer in host.peers:
            peer.writer.transport.abort()
        await server.drain()
        engine.close()
