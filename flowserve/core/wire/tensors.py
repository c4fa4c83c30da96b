"""Tensors between numpy and the wire: JSON arrays, and the raw bytes of the binary tensor data extension.

Wire formats: Open Inference Protocol v2 (tensor data), and Triton's `extension_binary_data.md` (raw
little-endian elements in row-major order; each element of BYTES is preceded by its length in 4 bytes,
little-endian).

Functions take `at`, the path of the field that they read, for the message of a refusal.
"""

from __future__ import annotations

import math
import re
import struct
import types
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NoReturn

import msgspec
import numpy as np

from flowc.plan.diagnostics import refuse
from flowserve.core.arrays import Array
from flowserve.core.datatypes import Datatype
from flowserve.core.wording import shown

Buffer = bytes | memoryview

_OPENING = re.compile(rb"[\s\[]*")
_LENGTH_BYTES = 4
_FLOAT = np.dtype("<f4")
_decode_floats = msgspec.json.Decoder(list[float]).decode
_PYTHON = {"b": bool, "i": int, "u": int, "f": float, "O": str}  # by kind of numpy
_BF16_MAX = 3.3895313892515355e38


def from_json(data: Buffer | msgspec.Raw, datatype: Datatype, shape: Sequence[int], at: str) -> Array:
    """Decode a JSON array, flat in row-major order or nested as `shape`, into an array of `shape`.

    Raises `Refused` FS206 where it has another number of elements, or one that the datatype cannot hold.
    """
    raw = memoryview(data)
    opening = _OPENING.match(raw)
    depth = opening.group().count(b"[") if opening else 0
    wanted = tuple(shape) if depth == len(shape) else (math.prod(shape),)
    if not depth or depth not in (1, len(shape)):
        _explain(raw, datatype, shape, at)
    try:
        array = _filled(_decoder(_kind(datatype), depth).decode(raw), datatype)
    except (ValueError, OverflowError, RecursionError):
        _explain(raw, datatype, shape, at)
    if array.shape != wanted:
        _explain(raw, datatype, shape, at)
    return array.reshape(tuple(shape))


def floats_reader(shape: tuple[int, ...]) -> Callable[[Buffer], Array | None]:
    """Return a function that decodes a flat JSON array into float32 of this shape, which is read-only.

    As `from_json`, for the array that most requests bring, at a fifth of the cost; None where it is not one,
    or has a number too large.
    """
    pack = struct.Struct(f"<{math.prod(shape)}f").pack

    def read(data: Buffer) -> Array | None:
        try:
            return np.ndarray(shape, _FLOAT, pack(*_decode_floats(data)))
        except (ValueError, OverflowError, RecursionError, struct.error):
            return None

    return read


def from_binary(data: Buffer, datatype: Datatype, shape: Sequence[int], at: str) -> Array:
    """Read raw bytes into an array of `shape`, which may share memory with `data` and be read-only.

    Raises `Refused` FS206 where the bytes are too many or too few, or a BYTES element is not UTF-8.
    """
    count = math.prod(shape)
    if datatype.name == "BYTES":
        return _strings(memoryview(data), count, at).reshape(tuple(shape))
    if len(data) != count * datatype.size:
        expected = f"{count * datatype.size} bytes ({count} of {datatype.name})"
        refuse("FS206", f"`{at}` must have {expected}, got {len(data)}")
    if datatype.name == "BOOL":  # any other byte than 0 is true, but numpy may only see 0 and 1
        truth: Array = np.frombuffer(data, np.uint8) != 0
        return truth.reshape(tuple(shape))
    array: Array = np.frombuffer(data, datatype.numpy).reshape(tuple(shape))
    # Tensors follow the JSON header at any offset; kernels may assume that elements are aligned.
    return array if array.flags.aligned else array.copy()


def to_json(array: Array, datatype: Datatype | None = None) -> list[Any]:
    """Return the elements, flat in row-major order. JSON will have null for NaN and infinities.

    `datatype` need only be told where it may be BF16.
    """
    if datatype is not None and datatype.name == "BF16":
        array = floats_of(array)
    elements: list[Any] = array.ravel().tolist()
    return elements


def floats_of(bits: Array) -> Array:
    """The float32 values of bfloat16 bits: the upper halves of float32."""
    floats: Array = (bits.astype(np.uint32) << 16).view(np.float32)
    return floats


def bits_of(floats: Array) -> Array:
    """The bfloat16 bits nearest to finite float32 values, ties to even."""
    whole = floats.astype(np.float32, copy=False).view(np.uint32)
    bits: Array = ((whole + 0x7FFF + ((whole >> 16) & 1)) >> 16).astype("<u2")
    return bits


def to_binary(array: Array, datatype: Datatype) -> bytes:
    """Return the raw bytes of an array."""
    if datatype.name != "BYTES":
        return array.astype(datatype.numpy, copy=False).tobytes()
    encoded = [str(text).encode() for text in array.ravel()]
    return b"".join(part for text in encoded for part in (len(text).to_bytes(_LENGTH_BYTES, "little"), text))


@lru_cache(maxsize=256)
def _decoder(kind: str, depth: int) -> msgspec.json.Decoder[Any]:
    wanted: Any = _PYTHON[kind]
    for _ in range(depth):
        wanted = types.GenericAlias(list, (wanted,))
    return msgspec.json.Decoder(wanted)


def _filled(values: list[Any], datatype: Datatype) -> Array:
    """Raises `OverflowError` for what the datatype cannot hold, `ValueError` for ragged rows."""
    if datatype.name not in ("FP16", "FP32", "BF16"):
        return np.array(values, datatype.numpy)
    with np.errstate(over="ignore"):
        array = np.array(values, "<f4" if datatype.name == "BF16" else datatype.numpy)
    # JSON has no infinity: one that is here was a number too large.
    if not np.isfinite(array).all():
        raise OverflowError
    if datatype.name == "BF16":
        if (np.abs(array) > _BF16_MAX).any():
            raise OverflowError
        return bits_of(array)
    return array


def _kind(datatype: Datatype) -> str:
    """How numpy names the kind of number that JSON has for a datatype."""
    return "f" if datatype.name == "BF16" else np.dtype(datatype.numpy).kind


def _largest(datatype: Datatype) -> float:
    return _BF16_MAX if datatype.name == "BF16" else float(np.finfo(datatype.numpy).max)


def _strings(data: memoryview, count: int, at: str) -> Array:
    if count * _LENGTH_BYTES > len(data):  # before anything of that size is allocated
        refuse("FS206", f"`{at}` must have {count} elements of BYTES, got {len(data)} bytes in all")
    array = np.empty(count, object)
    start = 0
    for index in range(count):
        end = start + _LENGTH_BYTES
        stop = end + int.from_bytes(data[start:end], "little")
        if end > len(data) or stop > len(data):
            refuse("FS206", f"`{at}` must have {count} elements of BYTES, but ends within element {index}")
        try:
            array[index] = str(data[end:stop], "utf-8")
        except UnicodeDecodeError:
            refuse("FS206", f"`{at}` must be UTF-8, but element {index} is not")
        start = stop
    if start != len(data):
        refuse("FS206", f"`{at}` must have {count} elements of BYTES, got {len(data) - start} bytes more")
    return array


def _explain(raw: memoryview, datatype: Datatype, shape: Sequence[int], at: str) -> NoReturn:
    """Find the first place that is wrong. Slow, which only a refused request pays for."""
    try:
        values = msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:  # a number beyond FP64, text that is not UTF-8
        reason, _, path = str(error).partition(" - at `$")
        refuse("FS206", f"`{at}{path.rstrip('`')}` cannot be read: {reason}")
    nested = isinstance(values, list) and any(isinstance(value, list) for value in values)
    walked = shape if nested else (math.prod(shape),)
    path, expected, came = _misfit(values, datatype, walked, at) or (at, f"of shape {list(shape)}", "another")
    refuse("FS206", f"`{path}` must be {expected}, got {came}")


def _misfit(value: Any, datatype: Datatype, shape: Sequence[int], at: str) -> tuple[str, str, str] | None:
    """Where it does not fit, what was expected there and what came."""
    if not shape:
        return None if _fits(value, datatype) else (at, _wanted(datatype), shown(value))
    if not isinstance(value, list) or len(value) != shape[0]:
        return at, f"an array of {shape[0]}", shown(value)
    found = (_misfit(v, datatype, shape[1:], f"{at}[{i}]") for i, v in enumerate(value))
    return next(filter(None, found), None)


def _fits(value: Any, datatype: Datatype) -> bool:
    match _kind(datatype):
        case "b":
            return isinstance(value, bool)
        case "O":
            return isinstance(value, str)
        case "f":
            number = isinstance(value, int | float) and not isinstance(value, bool)
            return number and abs(value) <= _largest(datatype)
        case _:
            bounds = np.iinfo(datatype.numpy)
            whole = isinstance(value, int) and not isinstance(value, bool)
            return whole and int(bounds.min) <= value <= int(bounds.max)


def _wanted(datatype: Datatype) -> str:
    match _kind(datatype):
        case "b":
            return "true or false"
        case "O":
            return "a string"
        case "f":
            return f"a number within {datatype.name} (at most {_largest(datatype):.6g})"
        case _:
            bounds = np.iinfo(datatype.numpy)
            return f"a whole number from {bounds.min} to {bounds.max} ({datatype.name})"
