"""The plain route for people: rows or named columns in, predictions by row out.

A body is one of
    [[5.1, 3.5, 1.4, 0.2], ...]  or  {"rows": [...]}          rows of a model with one input
    [{"age": 31, "city": "Oslo"}, ...]  or  {"rows": [...]}   rows by input, for any number of inputs
    {"columns": {"age": [31, ...], "city": ["Oslo", ...]}}    whole inputs, whatever their shape
An input of shape [rows, 1] takes a single value for each row. Shapes are read off the data.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import msgspec

from flowc.plan.diagnostics import refuse
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.protocol import InferRequest, Wanted
from flowserve.core.wire.tensors import Array, floats_of, from_json
from flowserve.core.wording import listed, shown, shown_shape

Columns = dict[str, msgspec.Raw]
_FORMS = '`{"rows": [...]}`, `{"columns": {...}}` or an array of rows'


class _Body(msgspec.Struct, forbid_unknown_fields=True):
    rows: msgspec.Raw | msgspec.UnsetType = msgspec.UNSET
    columns: Columns | msgspec.UnsetType = msgspec.UNSET


_FRACTION = re.compile(rb"[.eE]")
_body_decoder = msgspec.json.Decoder(_Body)
_rows_decoder = msgspec.json.Decoder(list[msgspec.Raw])
_row_decoder = msgspec.json.Decoder(Columns)


def parse_plain(body: bytes, signature: Signature) -> InferRequest:
    """Read plain rows or columns. Raises `Refused` FS201 where it is not JSON, FS234 or FS206 otherwise."""
    columns = _columns(body, signature)
    specs = {spec.name: spec for spec in signature.inputs}
    unknown = [name for name in columns if name not in specs]
    missing = [name for name in specs if name not in columns]
    if unknown or missing:
        wrong = f"{listed(unknown)} is not one of them" if unknown else f"{listed(missing)} is missing"
        refuse("FS234", f"the inputs must be {listed(list(specs))}, but {wrong}")
    feed = {name: _tensor(columns[name], spec) for name, spec in specs.items()}
    return InferRequest("", feed, tuple(Wanted(spec) for spec in signature.outputs))


def encode_plain(model: Model, request: InferRequest, outputs: Sequence[Array]) -> bytes:
    """Write predictions: an object of outputs for each row, or of whole outputs if they have no common rows.

    An output with labels is `label`, the best of them, and each label's score.
    """
    named = {
        wanted.spec: floats_of(array) if wanted.spec.datatype.name == "BF16" else array
        for wanted, array in zip(request.wanted, outputs, strict=True)
    }
    sizes = {array.shape[:1] for array in named.values()}
    rows = next(iter(sizes)) if len(sizes) == 1 else ()
    answer: dict[str, Any] = {"model": model.name, "version": str(model.version)}
    if rows:
        answer["predictions"] = [_row(named, row) for row in range(rows[0])]
    else:
        answer["outputs"] = {spec.name: array.tolist() for spec, array in named.items()}
    return msgspec.json.encode(answer)


def _columns(body: bytes, signature: Signature) -> Columns:
    try:
        if body.lstrip()[:1] == b"[":
            return _of_rows(msgspec.Raw(body), signature)
        parts = _body_decoder.decode(body)
        if isinstance(parts.columns, dict) and parts.rows is msgspec.UNSET:
            return parts.columns
        if isinstance(parts.rows, msgspec.Raw) and parts.columns is msgspec.UNSET:
            return _of_rows(parts.rows, signature)
    except msgspec.ValidationError as error:
        refuse("FS234", f"the request must be {_FORMS}: {error}")
    except (ValueError, RecursionError) as error:
        refuse("FS201", f"the request is not JSON: {error}")
    refuse("FS234", f"the request must be {_FORMS}")


def _of_rows(raw: msgspec.Raw, signature: Signature) -> Columns:
    rows = _rows_decoder.decode(raw)
    if not rows:
        return {spec.name: raw for spec in signature.inputs}
    if not any(bytes(row).lstrip()[:1] == b"{" for row in rows):
        if len(signature.inputs) != 1:
            inputs = listed([spec.name for spec in signature.inputs])
            refuse("FS234", f"each row must be an object with the inputs {inputs}")
        return {signature.inputs[0].name: raw}
    decoded = [_row_decoder.decode(row) for row in rows]
    names = list(decoded[0])
    for index, row in enumerate(decoded):
        if row.keys() != decoded[0].keys():
            came = listed(list(row))
            refuse("FS234", f"`rows[{index}]` must have {listed(names)} as the first row has, got {came}")
    return {name: msgspec.Raw(b"[%b]" % b",".join(bytes(row[name]) for row in decoded)) for name in names}


def _tensor(raw: msgspec.Raw, spec: TensorSpec) -> Array:
    shape: list[int] = []
    try:
        value = msgspec.json.decode(raw)
    except (ValueError, RecursionError) as error:
        refuse("FS201", f"the request is not JSON: {error}")
    if "INT" in spec.datatype.name and _FRACTION.search(raw):
        value = _whole(value)
        raw = msgspec.Raw(msgspec.json.encode(value))
    inner = value
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    if (
        inner is None and len(shape) < len(spec.shape) and 0 in shape
    ):  # no rows: the rest of the shape is free
        shape += [max(size, 0) for size in spec.shape[len(shape) :]]
    if 0 < len(shape) == len(spec.shape) - 1 and spec.shape[-1] in (1, -1):
        shape.append(1)
        raw = msgspec.Raw(msgspec.json.encode(_deeper(value)))
    if not spec.accepts(shape):
        expected = f"of shape {list(spec.shape)}" if spec.shape else "a single value"
        came = f"shape {shown_shape(shape)}" if shape else shown(value)
        refuse("FS234", f"input `{spec.name}` must be {expected}, got {came}")
    if not shape:  # `from_json` reads arrays
        raw = msgspec.Raw(b"[%b]" % bytes(raw))
    return from_json(raw, spec.datatype, shape, spec.name)


def _whole(value: Any) -> Any:
    """As JSON Schema has it, 2.0 is a whole number."""
    if isinstance(value, list):
        return [_whole(inner) for inner in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _deeper(value: Any) -> Any:
    return [_deeper(inner) for inner in value] if isinstance(value, list) else [value]


def _row(named: dict[TensorSpec, Array], row: int) -> dict[str, Any]:
    written: dict[str, Any] = {}
    for spec, array in named.items():
        scores = array[row].ravel()
        if spec.labels and math.prod(array.shape[1:]) == len(spec.labels):
            written["label"] = spec.labels[int(scores.argmax())]
            written[spec.name] = dict(zip(spec.labels, scores.tolist(), strict=True))
        else:
            written[spec.name] = array[row].tolist()
    return written
