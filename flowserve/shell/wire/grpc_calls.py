"""One gRPC call: who asks, from where, and how it is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote

import grpc

from flowc.plan.diagnostics import Refused
from flowserve.core.engine.calls import Overloaded
from flowserve.core.wire.answers import refusal
from flowserve.core.wire.grpc import code_of
from flowserve.core.wire.tokens import REFUSED, Tokens

Context = Any
"""A `grpc.aio.ServicerContext`; grpc has no types."""
UnaryAnswer = Callable[[bytes, Context], Awaitable[bytes]]
StreamAnswer = Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]


def guarded(answer: UnaryAnswer, tokens: Tokens) -> UnaryAnswer:
    """Answer only who has a token."""

    async def checked(data: bytes, context: Context) -> bytes:
        await _check_token(context, tokens)
        return await answer(data, context)

    return checked


def guarded_stream(answer: StreamAnswer, tokens: Tokens) -> StreamAnswer:
    """Answer only who has a token."""

    async def checked(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
        await _check_token(context, tokens)
        async for response in answer(requests, context):
            yield response

    return checked


async def _check_token(context: Context, tokens: Tokens) -> None:
    if not tokens.admit(metadata(context, "authorization").encode()):
        await abort(context, REFUSED)


async def abort(context: Context, refused: Refused) -> None:
    """End a call with a refusal. Raises."""
    pushback: tuple[tuple[str, str], ...] = ()
    if isinstance(refused, Overloaded):  # what gRPC's own retries heed
        pushback = (("grpc-retry-pushback-ms", str(refused.retry_after_s * 1000)),)
    await context.abort(grpc.StatusCode[code_of(refusal(refused).status)], str(refused), pushback)


def metadata(context: Context, name: str) -> str:
    """What a client has sent along by a name in lower case, "" for nothing."""
    given = dict(context.invocation_metadata() or ()).get(name, "")
    return given if isinstance(given, str) else given.decode("latin-1")


def is_local(context: Context) -> bool:
    """Whether the client is on this host, by gRPC's way to write where it is."""
    kind, _, peer = unquote(context.peer()).partition(":")
    return kind == "unix" or ip_address(peer.rpartition(":")[0].strip("[]").partition("%")[0]).is_loopback
