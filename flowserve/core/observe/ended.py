"""A request that was answered, as logs and traces have it, and the lines that logs make of it."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Literal

import msgspec

_ID_MAX = 128
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Stages(msgspec.Struct, frozen=True):
    """How long each stage took, in milliseconds."""

    route: float = 0.0
    parse: float = 0.0
    queue: float = 0.0
    inference: float = 0.0
    serialise: float = 0.0


class Ended(msgspec.Struct, frozen=True):
    """A request and how it was answered. `bytes` are those of the answer's body.

    There are no headers, no query and no body: what is told of a request has no secrets in it.
    """

    ended_s: float
    """In seconds since 1970."""
    protocol: Literal["http", "grpc"]
    client: str
    method: str
    target: str
    """The path, without the query."""
    status: int
    bytes: int
    ms: float
    request_id: str
    """What the client calls the request, or else what we do."""
    model: str = ""
    version: int = 0
    rows: int = 0
    stages: Stages | None = None
    """Of a request that was answered with outputs."""
    reason: str = ""
    """The code of a refusal."""
    traceparent: str = ""
    tracestate: str = ""


class Parent(msgspec.Struct, frozen=True):
    """The span that a request is part of, of another process."""

    trace: int
    span: int
    sampled: bool


def parent_of(traceparent: str) -> Parent | None:
    """Read W3C's `traceparent`; None where there is none, or not one of version 00 with valid ids."""
    found = _TRACEPARENT.fullmatch(traceparent)
    if found is None:
        return None
    trace, span = int(found[1], 16), int(found[2], 16)
    return Parent(trace, span, bool(int(found[3], 16) & 1)) if trace and span else None


def clean_id(text: str) -> str:
    """A client's id of a request: as much of it as a log bears."""
    return "".join([c for c in text[:_ID_MAX] if c.isprintable()])


def json_line(ended: Ended) -> bytes:
    """A line of the access log; docs/observing.md has the fields."""
    line = {
        "time": iso_time(ended.ended_s),
        "client": ended.client,
        "protocol": ended.protocol,
        "method": ended.method,
        "target": ended.target,
        "model": ended.model or None,
        "version": ended.version or None,
        "rows": ended.rows or None,
        "code": ended.status,
        "reason": ended.reason or None,
        "bytes": ended.bytes,
        "ms": round(ended.ms, 3),
        "request_id": ended.request_id,
    }
    return msgspec.json.encode({name: value for name, value in line.items() if value is not None}) + b"\n"


def common_line(ended: Ended) -> bytes:
    """A line of NCSA's common log format, followed by milliseconds, model, version and the request's id."""
    at = datetime.fromtimestamp(ended.ended_s, UTC)
    time = f"{at.day:02}/{_MONTHS[at.month - 1]}/{at.year}:{at:%H:%M:%S} +0000"
    protocol = "HTTP/1.1" if ended.protocol == "http" else "HTTP/2.0"
    asked = _quoted(f"{ended.method} {ended.target} {protocol}")
    model = f"{ended.model} {ended.version}" if ended.model else "- -"
    head = f"{ended.client or '-'} - - [{time}] {asked} {ended.status} {ended.bytes}"
    return f"{head} {ended.ms:.3f} {model} {_quoted(ended.request_id)}\n".encode()


LINES = {"json": json_line, "common": common_line}


def iso_time(seconds: float) -> str:
    """A time in seconds since 1970 as `2026-01-31T12:00:00.000Z`."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _quoted(text: str) -> str:
    # What a client sends must not look like the end of the field, or like another line.
    shown = "".join([c if c.isprintable() else ascii(c)[1:-1] for c in text.replace("\\", r"\\")])
    return '"' + shown.replace('"', r"\"") + '"'
