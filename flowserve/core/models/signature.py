"""What a model takes and gives."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowserve.core.datatypes import Datatype


class TensorSpec(msgspec.Struct, frozen=True):
    """An input or output of a model.

    `shape` has -1 where a request may choose the size. `axes` names such dimensions as the ONNX graph does
    ("" for a fixed or an unnamed one); it is empty when the graph's names are not known. `labels` are the
    class names along the last dimension of a probabilities output.
    """

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    axes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    def __str__(self) -> str:
        """`x FP32[-1, 4]`."""
        return f"{self.name} {self.datatype.name}{list(self.shape)}"

    def accepts(self, shape: Sequence[int]) -> bool:
        """Whether a tensor of this shape may be given; 0 may stand for -1, a negative size not."""
        if len(shape) != len(self.shape):
            return False
        return all(size >= 0 and wanted in (-1, size) for wanted, size in zip(self.shape, shape, strict=True))


class Signature(msgspec.Struct, frozen=True):
    """The inputs and outputs of a model, in the order of its ONNX graph."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def __str__(self) -> str:
        """`x FP32[-1, 4] -> label INT64[-1], probabilities FP32[-1, 3]`."""
        inputs, outputs = (", ".join(map(str, specs)) for specs in (self.inputs, self.outputs))
        return f"{inputs} -> {outputs}"


def axis_conflict(inputs: Sequence[TensorSpec], shapes: Sequence[Sequence[int]]) -> str:
    """Say where two accepted shapes give one named dimension different sizes; "" where they agree.

    Only worth asking once a model has failed: exporters reuse names for dimensions that need not agree.
    """
    seen: dict[str, tuple[str, int]] = {}
    for spec, shape in zip(inputs, shapes, strict=True):
        for axis, size in zip(spec.axes, shape, strict=False):
            name, first = seen.setdefault(axis, (spec.name, size))
            if axis and first != size:
                return f"`{spec.name}` must agree with `{name}` on dimension `{axis}`: {size} is not {first}"
    return ""
