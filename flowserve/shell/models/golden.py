"""Golden vectors: what a version must do before it takes traffic."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flowc.plan.diagnostics import Place, Refused, refuse
from flowserve.core.arrays import Array
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.wire.protocol import parse_request
from flowserve.core.wire.tensors import from_json
from flowserve.shell.models.writing import GOLDEN_FILE


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw


class _Case(msgspec.Struct, forbid_unknown_fields=True):
    inputs: msgspec.Raw
    outputs: list[_Output] = []


class _Golden(msgspec.Struct, forbid_unknown_fields=True):
    cases: list[_Case]
    tolerance: float = 1e-3


_golden_decoder = msgspec.json.Decoder(_Golden)


def prove(model: Model, key: Key, folder: Path) -> None:
    """Run the golden vectors of a version's folder, if it has some. Raises `Refused` FS103."""
    golden = folder / GOLDEN_FILE
    if os.path.isfile(golden):
        _check(model, key, golden)


def _check(model: Model, key: Key, file: Path) -> None:
    try:
        golden = _golden_decoder.decode(file.read_bytes())
    except (OSError, ValueError) as error:
        refuse("FS103", f"{key} has golden vectors that cannot be read: {error}", Place(str(file)))
    for index, case in enumerate(golden.cases):
        title = f"{key} fails its golden case {index}"
        try:
            body = b'{"inputs": %b}' % bytes(case.inputs)
            request = parse_request(body, None, model.signature)
            wanted = [_expected(output, model) for output in case.outputs]
            names = [output.name for output in case.outputs]
            given = model.run(request.feed, names or [spec.name for spec in model.signature.outputs])
        except Refused as refused:
            refuse("FS103", f"{title}: {refused.diagnostics[0].message}", Place(str(file)))
        for name, array, expected in zip(names, given, wanted, strict=False):
            if difference := _difference(array, expected, golden.tolerance):
                refuse("FS103", f"{title}: output `{name}` {difference}", Place(str(file)))


def _expected(output: _Output, model: Model) -> Array:
    specs = {spec.name: spec for spec in model.signature.outputs}
    datatype = DATATYPES.get(output.datatype)
    if datatype is None or output.name not in specs:
        refuse("FS207", f"the model has no output `{output.name}` of `{output.datatype}`")
    return from_json(output.data, datatype, output.shape, f"outputs.{output.name}.data")


def _difference(given: Any, expected: Array, tolerance: float) -> str:
    """What differs, "" for nothing. Floats may be off by the tolerance, relative or absolute."""
    if given.shape != expected.shape:
        return f"has the shape {list(given.shape)}, not {list(expected.shape)}"
    if given.dtype.kind != "f":
        return "" if given.tolist() == expected.tolist() else "is another"
    if np.allclose(given, expected, tolerance, tolerance, equal_nan=True):
        return ""
    off = float(np.nanmax(np.abs(given.astype(np.float64) - expected.astype(np.float64)), initial=0))
    return f"is off by {off:.3g}, more than {tolerance:g}"
