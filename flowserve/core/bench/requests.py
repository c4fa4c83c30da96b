"""Requests to put load on a model with: from rows, or made up from the model's metadata."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.datatypes import DATATYPES, Datatype
from flowserve.core.wire.tensors import Array, from_json, to_binary, to_json
from flowserve.core.wording import listed

REQUESTS_MAX = 1000
"""So many different ones are prepared; then they come again."""


class Input(msgspec.Struct, frozen=True):
    """An input as the metadata of a model has it; -1 in a shape is any size."""

    name: str
    datatype: str
    shape: list[int]


class Tensor(msgspec.Struct, frozen=True):
    """A value of an input."""

    name: str
    datatype: Datatype
    array: Array


Feed = list[Tensor]


def made_up(inputs: Sequence[Input], rows: int) -> Feed:
    """One value of every input, with so many rows where the first axis is open, and 1 for other open axes."""
    generator = np.random.default_rng(0)  # the same at every call
    feed = []
    for of in inputs:
        shape = [rows if index == 0 and size < 0 else abs(size) for index, size in enumerate(of.shape)]
        feed.append(Tensor(of.name, DATATYPES[of.datatype], _values(of.datatype, shape, generator)))
    return feed


def from_rows(text: bytes, inputs: Sequence[Input], rows: int, file: str) -> list[Feed]:
    """Read rows of a model of one input, or an object of rows by input, and cut them into requests.

    Raises `Refused` FS292, and FS206 for a row that does not fit.
    """
    columns = _columns(text, inputs, file)
    counts = {len(column) for column in columns.values()}
    if len(counts) != 1 or not min(counts):
        refuse("FS292", f"`{file}` must have as many rows for every input, one at least")
    starts = range(0, counts.pop() - rows + 1, rows)
    if not starts:
        refuse("FS292", f"`{file}` must have {rows} rows at least: that many go into a request")
    return [
        [_tensor(of, columns[of.name][start : start + rows]) for of in inputs]
        for start in starts[:REQUESTS_MAX]
    ]


def json_body(feed: Feed) -> bytes:
    """A request of the Open Inference Protocol in JSON."""
    return msgspec.json.encode(
        {"inputs": [{**_described(t), "data": to_json(t.array, t.datatype)} for t in feed]}
    )


def binary_body(feed: Feed) -> tuple[bytes, int]:
    """The same with raw tensors, in and out, and the length of its header."""
    raw = [to_binary(tensor.array, tensor.datatype) for tensor in feed]
    inputs = [
        {**_described(tensor), "parameters": {"binary_data_size": len(data)}}
        for tensor, data in zip(feed, raw, strict=True)
    ]
    header = msgspec.json.encode({"inputs": inputs, "parameters": {"binary_data_output": True}})
    return b"".join([header, *raw]), len(header)


def rows_of(feed: Feed) -> int:
    """How many rows a request has."""
    array = feed[0].array if feed else np.zeros(())
    return int(array.shape[0]) if array.ndim else 1


def _described(tensor: Tensor) -> dict[str, Any]:
    return {"name": tensor.name, "datatype": tensor.datatype.name, "shape": list(tensor.array.shape)}


def _values(datatype: str, shape: list[int], generator: np.random.Generator) -> Array:
    count = math.prod(shape)
    if datatype == "BYTES":
        return np.array([f"text {index}" for index in range(count)], object).reshape(shape)
    if datatype == "BF16":
        return np.full(shape, 0x3F00, "<u2")  # 0.5
    if datatype.startswith("FP"):
        return generator.random(shape).astype(DATATYPES[datatype].numpy)
    return generator.integers(0, 2, shape).astype(DATATYPES[datatype].numpy)


def _columns(text: bytes, inputs: Sequence[Input], file: str) -> dict[str, list[Any]]:
    try:
        value = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        refuse("FS292", f"`{file}` is not JSON: {error}")
    names = [of.name for of in inputs]
    if isinstance(value, list) and len(names) == 1:
        return {names[0]: value}
    if (
        isinstance(value, dict)
        and set(value) == set(names)
        and all(isinstance(v, list) for v in value.values())
    ):
        return value
    expected = f"an object with rows for each of {listed(names)}"
    refuse("FS292", f"`{file}` must be {'an array of rows, or ' if len(names) == 1 else ''}{expected}")


def _tensor(of: Input, rows: list[Any]) -> Tensor:
    datatype = DATATYPES[of.datatype]
    raw = msgspec.Raw(msgspec.json.encode(rows))
    return Tensor(of.name, datatype, from_json(raw, datatype, list(_shape(rows)), of.name))


def _shape(value: Any) -> Iterator[int]:
    while isinstance(value, list):
        yield len(value)
        value = value[0] if value else None
