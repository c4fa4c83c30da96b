"""Requests for a model that are as others before them but for the numbers of their tensor.

Clients write the same request again and again. The JSON around its data need not be read each time: where the
bytes before the data and those after it are the same, so is what they mean, whatever array stands between.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from flowc.plan.diagnostics import Refused
from flowserve.core.arrays import Array
from flowserve.core.datatypes import Datatype
from flowserve.core.models.signature import Signature
from flowserve.core.wire.protocol import (
    Admit,
    AskedRequest,
    InferRequest,
    Wanted,
    decode_request,
    parse_request,
)
from flowserve.core.wire.shared import Regions, no_regions
from flowserve.core.wire.tensors import floats_reader, from_binary, from_json

_KEPT_MAX = 32
_KEPT_BYTES_MAX = 2048
# After so many in a row that were like none before, only one in as many is kept.
_MISSES_MAX = 64

Reader = Callable[[bytes], Array | None]
"""From the bytes of a tensor to its array; None where they are none."""


class _Kept(msgspec.Struct, frozen=True):
    """What the bytes around a request's data mean."""

    after: bytes
    name: str
    """Of its only tensor."""
    tensor: Reader
    rows: int
    """As `parse_request` tells `admit`."""
    id: str
    wanted: tuple[Wanted, ...]
    timeout_us: int
    priority: int
    parameters: dict[str, bool | int | float | str]


class Alike:
    """Reads the requests for one model as `protocol.parse_request` does, with what it remembers of others."""

    def __init__(self, signature: Signature) -> None:
        self._signature = signature
        # By what stands before the data: a binary request's whole JSON, of others the JSON up to the array.
        self._binary: dict[bytes, _Kept] = {}
        self._json: dict[bytes, _Kept] = {}
        self._misses = 0

    def read(
        self,
        body: bytes,
        header_bytes: int | None = None,
        admit: Admit | None = None,
        regions: Regions = no_regions,
    ) -> InferRequest:
        """Return what `parse_request` would return, or raise what it would raise."""
        if header_bytes is None:
            before = before_data(body)
            kept = self._json.get(before)
        else:
            before = body[:header_bytes]
            kept = self._binary.get(before)
        if kept is None or not body.endswith(kept.after):
            return self._read_anew(body, header_bytes, admit, regions)
        if admit is not None:
            admit(kept.rows, kept.timeout_us, kept.priority)
        array = kept.tensor(body[len(before) : len(body) - len(kept.after)])
        if array is None:  # only whoever reads it all can say what is wrong
            return parse_request(body, header_bytes, self._signature, regions=regions)
        self._misses = 0
        feed = {kept.name: array}
        return InferRequest(kept.id, feed, kept.wanted, kept.timeout_us, kept.priority, kept.parameters)

    def around(self, body: bytes) -> tuple[bytes, bytes] | None:
        """What stands before and after the data of a request in JSON that is as others before it."""
        before = before_data(body)
        kept = self._json.get(before)
        return (before, kept.after) if kept is not None and body.endswith(kept.after) else None

    def _read_anew(
        self, body: bytes, header_bytes: int | None, admit: Admit | None, regions: Regions
    ) -> InferRequest:
        request = parse_request(body, header_bytes, self._signature, admit, regions)
        self._misses += 1
        if self._misses <= _MISSES_MAX or self._misses % _MISSES_MAX == 0:
            self._learn(body, header_bytes, request)
        return request

    def _learn(self, body: bytes, header_bytes: int | None, request: InferRequest) -> None:
        """Keep a request that has been read, if its only tensor stands where `read` would look for it."""
        if len(request.feed) != 1 or any(wanted.slot is not None for wanted in request.wanted):
            return
        asked = decode_request(body if header_bytes is None else memoryview(body)[:header_bytes])
        data, before, after = asked.inputs[0].data, body[:header_bytes], b""
        if isinstance(data, msgspec.Raw):
            start = _address(data) - _address(body)
            before, after = body[:start], body[start + len(memoryview(data)) :]
            if header_bytes is not None or before != before_data(body):
                return
        elif "shared_memory_region" in asked.inputs[0].parameters:
            return
        kept = self._json if header_bytes is None else self._binary
        if len(before) + len(after) > _KEPT_BYTES_MAX:
            return
        if len(kept) >= _KEPT_MAX:
            kept.clear()
        kept[before] = _known(after, asked, request, self._signature, header_bytes is not None)


def before_data(body: bytes) -> bytes:
    """What stands before the first array that follows the word `data`, wherever that is."""
    return body[: body.find(b"[", body.find(b'"data"'))]


def _known(
    after: bytes, asked: AskedRequest, request: InferRequest, signature: Signature, binary: bool
) -> _Kept:
    ((name, array),) = request.feed.items()
    datatype = next(spec.datatype for spec in signature.inputs if spec.name == name)
    if binary:
        size = asked.inputs[0].parameters.get("binary_data_size")
        tensor = _from_binary(datatype, array.shape, size if isinstance(size, int) else 0)
    else:
        tensor = _from_json(datatype, array.shape)
    return _Kept(
        after,
        name,
        tensor,
        array.shape[0] if array.shape else 1,
        request.id,
        request.wanted,
        request.timeout_us,
        request.priority,
        asked.parameters,
    )


def _from_binary(datatype: Datatype, shape: tuple[int, ...], size: int) -> Reader:
    """Bytes of another length than the header says may have the elements all the same, and are refused."""
    if datatype.name not in ("BYTES", "BOOL"):
        kind = np.dtype(datatype.numpy)
        # Aligned: `data` is an object of bytes, not a view into one.
        return lambda data: np.ndarray(shape, kind, data) if len(data) == size else None
    whole = _unless_refused(from_binary, datatype, shape)
    return lambda data: whole(data) if len(data) == size else None


def _from_json(datatype: Datatype, shape: tuple[int, ...]) -> Reader:
    return floats_reader(shape) if datatype.name == "FP32" else _unless_refused(from_json, datatype, shape)


def _unless_refused(
    read: Callable[[bytes, Datatype, tuple[int, ...], str], Array], datatype: Datatype, shape: tuple[int, ...]
) -> Reader:
    def tried(data: bytes) -> Array | None:
        try:
            return read(data, datatype, shape, "")
        except Refused:
            return None

    return tried


def _address(buffer: bytes | msgspec.Raw) -> int:
    return int(np.frombuffer(memoryview(buffer), np.uint8).ctypes.data)
