"""HTTP requests as values, and answers."""

from __future__ import annotations

import gzip
import http.client
import json
import zlib
from typing import Any, NamedTuple

PATIENCE_S = 20


class Asked(NamedTuple):
    """An HTTP request."""

    method: str
    path: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.body!r} {dict(self.headers) or ''}"


class Said(NamedTuple):
    """An HTTP answer. `value` is its JSON, None where it has none; `tail` is what follows that."""

    status: int
    content_type: str
    value: Any
    tail: bytes


def get(path: str) -> Asked:
    return Asked("GET", path)


def post(path: str, body: object = b"") -> Asked:
    """`body` is JSON, unless it is bytes."""
    return Asked("POST", path, body if isinstance(body, bytes) else json.dumps(body).encode())


def infer(model: str, body: object, version: str = "", **headers: str) -> Asked:
    path = f"/v2/models/{model}/versions/{version}/infer" if version else f"/v2/models/{model}/infer"
    return post(path, body)._replace(headers=tuple((k.replace("_", "-"), v) for k, v in headers.items()))


def binary(model: str, header: object, data: bytes, length: str | None = None) -> Asked:
    """Raw tensors after the JSON, whose length is told rightly unless it is given."""
    head = json.dumps(header).encode()
    length = str(len(head)) if length is None else length
    return infer(model, head + data, Inference_Header_Content_Length=length)


def ask(address: str, asked: Asked) -> Said:
    """Ask, on a connection of its own."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE_S)
    try:
        connection.request(asked.method, asked.path, asked.body or None, dict(asked.headers))
        answer = connection.getresponse()
        content = _unpacked(answer.read(), answer.getheader("Content-Encoding", ""))
        length = answer.getheader("Inference-Header-Content-Length")
    finally:
        connection.close()
    head = content[: int(length)] if length else content
    try:
        value = json.loads(head) if head else None
    except ValueError:
        value = head.decode("latin-1")
    return Said(answer.status, answer.getheader("Content-Type", ""), value, content[len(head) :])


def _unpacked(content: bytes, coding: str) -> bytes:
    match coding:
        case "gzip":
            return gzip.decompress(content)
        case "deflate":
            return zlib.decompress(content)
        case _:
            return content
