"""The kinds of gRPC calls: what stands between a stream's messages and who answers them."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable

from flowc.plan.diagnostics import Refused
from flowserve.shell.wire.grpc.inference import Answered, GrpcInference, Host, Outcome
from flowserve.shell.wire.http2.streams import Stream
from flowserve.shell.wire.inference import FAILED

_log = logging.getLogger("flowserve")
# Requests of one stream that may run at once; more wait in the client, by flow control.
_AHEAD_MAX = 16

Left = Callable[[], object] | None
"""What is to be done when the client leaves."""
Begin = Callable[[Stream, bytes, bool], Left]
"""Answers a stream, given its only message and whether that is compressed, or raises `Refused`."""


class Unary:
    """A call of one message and one answer."""

    ready = True
    patient = False

    __slots__ = ("_begin", "_cancel", "_message", "_stream")

    def __init__(self, stream: Stream, begin: Begin) -> None:
        self._stream = stream
        self._begin = begin
        self._cancel: Left = None
        self._message: tuple[bytes, bool] | None = None

    def message(self, data: bytes, compressed: bool) -> None:
        """Keep the message until it is known to be the only one."""
        if self._message is not None:
            self._stream.fail("UNIMPLEMENTED", "the method takes one message, and more have come")
        self._message = data, compressed

    def ended(self) -> None:
        """Begin to answer."""
        stream, message = self._stream, self._message
        self._message = None
        if message is None:
            stream.fail("UNIMPLEMENTED", "the method takes one message, and none has come")
            return
        try:
            self._cancel = self._begin(stream, *message)
        except Refused as refused:
            stream.refuse(refused)
        except Exception:
            _log.exception("a gRPC call of %s failed", stream.head.path)
            stream.refuse(FAILED)

    def cancel(self) -> None:
        """Drop the request."""
        if self._cancel is not None:
            self._cancel()


def begin_infer(server: Host) -> Begin:
    """How `ModelInfer` is answered."""

    def begin(stream: Stream, data: bytes, compressed: bool) -> Callable[[], None]:
        def done(outcome: Outcome) -> None:
            if isinstance(outcome, Refused):
                stream.refuse(outcome)
            else:
                stream.answer(outcome.data, outcome.coding)

        inference = GrpcInference(server, stream, done, streamed=False)
        inference.begin(data, compressed)
        return inference.cancel

    return begin


class Conversation:
    """A call of any number of messages, each of which is answered at once, with one."""

    patient = True

    def __init__(self, stream: Stream, answer: Callable[[bytes], bytes]) -> None:
        """`answer` may raise `Refused`."""
        self._stream = stream
        self._answer = answer

    @property
    def ready(self) -> bool:
        """Whether another may come: not from a client that does not read the answers before it."""
        return not self._stream.parts

    def message(self, data: bytes, compressed: bool) -> None:
        """Answer a message."""
        try:
            self._stream.send(self._answer(self._stream.unpacked(data, compressed)))
        except Refused as refused:
            self._stream.refuse(refused)

    def ended(self) -> None:
        """End as well."""
        self._stream.finish()

    def cancel(self) -> None:
        """There is nothing to drop."""


class StreamInfer:
    """`ModelStreamInfer`: answers in the order of the requests, some of which run at once.

    A refusal is an answer like others, and the stream goes on.
    """

    patient = True

    def __init__(self, stream: Stream, server: Host) -> None:
        self._stream = stream
        self._server = server
        self._running: deque[_Turn] = deque()
        self._all = False

    @property
    def ready(self) -> bool:
        """Whether another request may run: not for a client that does not read the answers before it."""
        return len(self._running) < _AHEAD_MAX and not self._stream.parts

    def message(self, data: bytes, compressed: bool) -> None:
        """Begin to answer a request."""
        turn = _Turn(self._advance)
        self._running.append(turn)
        turn.inference = GrpcInference(self._server, self._stream, turn.done, streamed=True)
        turn.inference.begin(data, compressed)

    def ended(self) -> None:
        """End once all is answered."""
        self._all = True
        self._advance()

    def cancel(self) -> None:
        """Drop the requests."""
        for turn in self._running:
            if turn.inference is not None:
                turn.inference.cancel()
        self._running.clear()

    def _advance(self) -> None:
        """Send the answers whose turn it is."""
        full = not self.ready
        while self._running and (answered := self._running[0].answered) is not None:
            self._running.popleft()
            self._stream.send(answered.data, answered.coding)
        if self._all and not self._running:
            self._stream.finish()
        elif full and self.ready:
            self._stream.pull()


class _Turn:
    """A request's place in a stream."""

    __slots__ = ("_advance", "answered", "inference")

    def __init__(self, advance: Callable[[], None]) -> None:
        self._advance = advance
        self.answered: Answered | None = None
        self.inference: GrpcInference | None = None

    def done(self, outcome: Outcome) -> None:
        assert isinstance(outcome, Answered), "what is refused in a stream is a message"
        self.answered = outcome
        self.inference = None
        self._advance()
