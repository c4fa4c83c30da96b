"""gRPC over HTTP/2: what a call's header list asks, and how it ends.

Sources: gRPC's `PROTOCOL-HTTP2.md`; RFC 9113, 8 for what a header list must be.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import quote

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.engine.calls import Overloaded
from flowserve.core.wire.answers import status_of
from flowserve.core.wire.http2.hpack import Field
from flowserve.core.wire.http2.messages import CODINGS

_NAMES = """
    OK CANCELLED UNKNOWN INVALID_ARGUMENT DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS PERMISSION_DENIED
    RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED OUT_OF_RANGE UNIMPLEMENTED INTERNAL UNAVAILABLE DATA_LOSS
    UNAUTHENTICATED
"""
STATUSES = {name: number for number, name in enumerate(_NAMES.split())}

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    408: "DEADLINE_EXCEEDED",
    409: "ABORTED",
    413: "RESOURCE_EXHAUSTED",
    429: "RESOURCE_EXHAUSTED",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}

_MS = {"H": 3.6e6, "M": 6e4, "S": 1e3, "m": 1.0, "u": 1e-3, "n": 1e-6}
_TIMEOUT = re.compile(r"(\d{1,8})([HMSmun])", re.ASCII)
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
_UNFIT = re.compile(rb"[\0\r\n]|^[ \t]|[ \t]$")
_OF_CONNECTION = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
# Clients bound what they take of trailers, at 8 KiB for many.
_SAID_BYTES_MAX = 4096


class Head(msgspec.Struct, frozen=True):
    """What a header list asks."""

    path: str
    fields: tuple[Field, ...]
    """All of the list, for who wants to know more."""
    timeout_ms: float | None = None
    coding: str = "identity"
    """Of messages that say that they are compressed."""
    accepts: str = ""
    """The codings that the client takes, as it lists them."""
    authorization: bytes = b""
    length: int | None = None
    """Of all data, where the client says so."""
    http_status: int = 200
    """Any other says that this is not gRPC, and how to answer."""
    fault: tuple[str, str] | None = None
    """The status and the reason of what is no call, though it is gRPC."""

    def named(self, name: str) -> str:
        """Return the value of a field by its name in lower case, "" where there is none."""
        wanted = name.encode()
        return next((value.decode("latin-1") for field, value in self.fields if field == wanted), "")


class Trailers(msgspec.Struct, frozen=True):
    """A header list without pseudo-headers, as it may end a request. Nothing in it has a meaning here."""


class Malformed(msgspec.Struct, frozen=True):
    """What is no request of HTTP at all."""

    why: str


class TooLong(msgspec.Struct, frozen=True):
    """A header list beyond the limit, of which nothing was kept."""


Asked = Head | Trailers | Malformed | TooLong


def read_head(fields: Sequence[Field] | None) -> Asked:
    """Read a header list; None is one beyond the limit."""
    if fields is None:
        return TooLong()
    named: dict[bytes, bytes] = {}
    pseudo = 0
    for at, (name, value) in enumerate(fields):
        if name[:1] == b":":
            if name not in _PSEUDO or name in named or pseudo != at:
                return Malformed("a pseudo-header is unknown, stands twice or after others")
            pseudo += 1
        elif not _NAME.fullmatch(name) or name in _OF_CONNECTION:
            return Malformed("a header's name has no place in HTTP/2")
        if _UNFIT.search(value) or (name == b"te" and value != b"trailers"):
            return Malformed("a header's value has no place in HTTP/2")
        named.setdefault(name, value)
    if not pseudo:
        return Trailers()
    if not (named.get(b":method") and named.get(b":scheme") and named.get(b":path")):
        return Malformed("a request must have `:method`, `:scheme` and `:path`")
    length = named.get(b"content-length", b"")
    if length and not (length.isdigit() and len(length) < 19):
        return Malformed("`content-length` must be a number of bytes")
    return _head(tuple(fields), named, int(length) if length else None)


def _head(fields: tuple[Field, ...], named: dict[bytes, bytes], length: int | None) -> Head:
    text = {name: value.decode("latin-1") for name, value in named.items()}
    kind = text.get(b"content-type", "")
    http_status = 200
    if named[b":method"] != b"POST":
        http_status = 405
    elif kind != "application/grpc" and not kind.startswith(("application/grpc+proto", "application/grpc;")):
        http_status = 415
    timeout, timeout_ms, fault = text.get(b"grpc-timeout"), None, None
    if timeout is not None:
        found = _TIMEOUT.fullmatch(timeout)
        if found is None:
            fault = "INTERNAL", "`grpc-timeout` must be up to eight digits and a unit"
        else:
            timeout_ms = int(found[1]) * _MS[found[2]]
    return Head(
        text[b":path"],
        fields,
        timeout_ms,
        text.get(b"grpc-encoding", "identity"),
        text.get(b"grpc-accept-encoding", ""),
        named.get(b"authorization", b""),
        length,
        http_status,
        fault,
    )


# Answers


def literal(name: bytes, value: bytes) -> bytes:
    """Write a header field for HPACK without its table and its Huffman code; names of up to 126 bytes."""
    length = len(value)
    if length < 127:
        return b"\0%c%b%c%b" % (len(name), name, length, value)
    rest, size = length - 127, b"\x7f"
    while rest >= 128:
        size += bytes((rest & 0x7F | 0x80,))
        rest >>= 7
    return b"\0%c%b%b%c%b" % (len(name), name, size, rest, value)


_STATUS_200 = b"\x88"  # of the static table
_GRPC = literal(b"content-type", b"application/grpc")
ANSWER = _STATUS_200 + _GRPC
"""The header block before the messages of an answer."""
ANSWERS = {coding: ANSWER + literal(b"grpc-encoding", coding.encode()) for coding in CODINGS[1:]} | {
    "identity": ANSWER
}
OK = literal(b"grpc-status", b"0")
"""The header block after them, of a call that went well."""


def trailers(status: str, said: str, pushback_ms: int | None = None, accepts: bool = False) -> bytes:
    """Write the header block that ends a call with a status other than OK.

    `pushback_ms` is what gRPC's own retries heed; `accepts` adds which codings there are.
    """
    block = literal(b"grpc-status", b"%d" % STATUSES[status])
    if said:
        block += literal(b"grpc-message", _percent(said))
    if pushback_ms is not None:
        block += literal(b"grpc-retry-pushback-ms", b"%d" % pushback_ms)
    if accepts:
        block += literal(b"grpc-accept-encoding", ",".join(CODINGS).encode())
    return block


def refusal_trailers(refused: Refused) -> bytes:
    """Write the header block that ends a call with a refusal: the status that HTTP has for it, as gRPC's."""
    pushback_ms = refused.retry_after_s * 1000 if isinstance(refused, Overloaded) else None
    return trailers(code_of(status_of(refused)), str(refused), pushback_ms)


def code_of(status: int) -> str:
    """Return the name of gRPC's status code for a status of HTTP."""
    return _CODES.get(status, "INTERNAL")


def plain(status: int) -> bytes:
    """Write the header block that answers what is not gRPC."""
    return literal(b":status", b"%d" % status) + literal(b"content-length", b"0")


def _percent(said: str) -> bytes:
    """Percent-encoding as gRPC has it: of everything but printable ASCII, and of `%`."""
    coded = quote(said[:_SAID_BYTES_MAX], safe=" !\"#$&'()*+,-./:;<=>?@[\\]^_`{|}~").encode()
    # Cut where no code is cut.
    return re.sub(rb"%.?$", b"", coded[:_SAID_BYTES_MAX])
