"""Models that exist twice, with the same signature: as ONNX for us, and for Triton's Python backend."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from onnx import ModelProto, helper
from onnx_models import serialised

from flowserve.core.datatypes import DATATYPES
from flowserve.shell.models.repository import publish

LABELS = ["setosa", "versicolor", "virginica"]
# Without BF16, which numpy does not have, and so nor has Triton's Python backend.
KINDS = [name for name in DATATYPES if name != "BF16"]

_TRITON = """
import numpy
import triton_python_backend_utils as triton


def outputs(given):
    return {formula}


class TritonPythonModel:
    def execute(self, requests):
        return [answer(request) for request in requests]


def answer(request):
    given = {{tensor.name(): tensor.as_numpy() for tensor in request.inputs()}}
    try:
        found = outputs(given)
    except Exception as error:
        return triton.InferenceResponse([], triton.TritonError(str(error)))
    asked = request.requested_output_names()
    return triton.InferenceResponse([triton.Tensor(name, found[name]) for name in asked])
"""

_Ends = list[tuple[str, str, list[int]]]


class Twin(NamedTuple):
    """A model; shapes have -1 for what a request chooses. `formula` gives the outputs from the inputs.

    With `rows`, Triton has the first axis as its batch, of so many rows at most.
    """

    name: str
    inputs: _Ends
    outputs: _Ends
    onnx: bytes
    formula: str
    versions: int = 1
    labels: tuple[str, ...] = ()
    rows: int = 0


def _twin(name: str, nodes, inputs: _Ends, outputs: _Ends, formula: str, constants=(), **more) -> Twin:
    def ends(of: _Ends):
        return [
            (end, DATATYPES[kind].onnx, [f"{axis}" if size < 0 else size for axis, size in enumerate(shape)])
            for end, kind, shape in of
        ]

    made = [helper.make_node(*node) for node in nodes]
    return Twin(
        name, inputs, outputs, serialised(made, ends(inputs), ends(outputs), constants), formula, **more
    )


TWINS = [
    _twin(
        "echo",
        [("Identity", ["x"], ["y"])],
        [("x", "FP32", [-1, -1])],
        [("y", "FP32", [-1, -1])],
        "{'y': given['x']}",
        versions=2,
    ),
    _twin(
        "sums",
        [("Add", ["a", "b"], ["sum"]), ("Sub", ["a", "b"], ["difference"])],
        [("a", "INT32", [-1]), ("b", "INT32", [-1])],
        [("sum", "INT32", [-1]), ("difference", "INT32", [-1])],
        "{'sum': given['a'] + given['b'], 'difference': given['a'] - given['b']}",
    ),
    _twin(
        "strings",
        [("Identity", ["x"], ["y"])],
        [("x", "BYTES", [-1])],
        [("y", "BYTES", [-1])],
        "{'y': given['x']}",
    ),
    _twin(
        "classes",
        [("Slice", ["x", "from", "to", "axis"], ["scores"]), ("Identity", ["x"], ["same"])],
        [("x", "FP32", [-1, 4])],
        [("scores", "FP32", [-1, 3]), ("same", "FP32", [-1, 4])],
        "{'scores': numpy.ascontiguousarray(given['x'][:, 1:]), 'same': given['x']}",
        constants=[("from", np.array([1])), ("to", np.array([4])), ("axis", np.array([1]))],
        labels=tuple(LABELS),
    ),
    _twin(
        "rows",
        [("Neg", ["x"], ["y"])],
        [("x", "FP32", [-1, 2])],
        [("y", "FP32", [-1, 2])],
        "{'y': -given['x']}",
        labels=("first", "second"),
        rows=8,
    ),
    _twin(
        "fixed",
        [("Neg", ["x"], ["y"])],
        [("x", "FP64", [2, 2])],
        [("y", "FP64", [2, 2])],
        "{'y': -given['x']}",
    ),
    _twin(
        "kinds",
        [("Identity", [kind], [f"{kind}_out"]) for kind in KINDS],
        [(kind, kind, [-1]) for kind in KINDS],
        [(f"{kind}_out", kind, [-1]) for kind in KINDS],
        "{name + '_out': value for name, value in given.items()}",
    ),
]


def for_flowserve(folder: Path) -> None:
    """Publish them."""
    for twin in TWINS:
        for version in range(twin.versions):
            content = _stamped(twin.onnx, version)  # the same bytes would add no version
            publish(folder, twin.name, content, twin.labels, twin.outputs[0][0])


def for_triton(folder: Path) -> None:
    """Write them as a repository for Triton's Python backend."""
    for twin in TWINS:
        for version in range(1, twin.versions + 1):
            place = folder / twin.name / str(version)
            place.mkdir(parents=True)
            (place / "model.py").write_text(_TRITON.format(formula=twin.formula))
        (folder / twin.name / "config.pbtxt").write_text(_config(twin))
        (folder / twin.name / "labels.txt").write_text("\n".join(twin.labels))


def _config(twin: Twin) -> str:
    lines = ['backend: "python"', f"max_batch_size: {twin.rows}", "version_policy { all {} }"]
    lines += [_end("input", *end) for end in _without_rows(twin, twin.inputs)]
    lines += [_end("output", *end, twin.labels[: end[2][-1]]) for end in _without_rows(twin, twin.outputs)]
    return "\n".join([*lines, "instance_group [{ count: 1, kind: KIND_CPU }]"])


def _without_rows(twin: Twin, ends: _Ends) -> _Ends:
    return [(name, kind, shape[1:]) for name, kind, shape in ends] if twin.rows else ends


def _end(field: str, name: str, kind: str, shape: list[int], labels=()) -> str:
    more = ' label_filename: "labels.txt"' if labels and shape[-1] == len(labels) else ""
    return f'{field} {{ name: "{name}" data_type: {DATATYPES[kind].config} dims: {shape}{more} }}'


def _stamped(content: bytes, number: int) -> bytes:
    model = ModelProto.FromString(content)
    model.model_version = number
    return model.SerializeToString()
