"""What a publisher must know of an ONNX model: its inputs and outputs, for `config.pbtxt` to declare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from flowc.plan.diagnostics import Diagnostic, Place, Refused, refuse
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.datatypes import BY_ONNX
from flowserve.core.wording import cut, listed

if TYPE_CHECKING:
    import onnx


def read_signature(content: bytes, labels: Sequence[str], probabilities_output: str | None) -> Signature:
    """Return the signature of an ONNX model, with `labels` on its probabilities output.

    That output is the only one of floats unless it is named. Raises `Refused` FS105 for bytes that are not a
    valid ONNX model, for inputs and outputs that the protocol cannot carry, and for labels that do not fit.
    """
    return _labelled(_signature(_checked(content)), tuple(labels), probabilities_output)


def signature_on_disk(file: Path, labels: Mapping[str, tuple[str, ...]]) -> Signature:
    """Return the signature of a published model, with the labels of its outputs; weights are not read.

    Raises `Refused` FS103.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        signature = _signature(onnx.load(file, load_external_data=False))
    except (OSError, DecodeError, Refused) as error:
        refuse("FS103", f"the model cannot be read: {error}", Place(str(file)))
    outputs = [msgspec.structs.replace(spec, labels=labels.get(spec.name, ())) for spec in signature.outputs]
    return Signature(signature.inputs, tuple(outputs))


def _signature(model: onnx.ModelProto) -> Signature:
    initialised = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in initialised]
    problems: list[Diagnostic] = []
    specs = [
        [_spec(value, kind, problems) for value in values]
        for kind, values in (("input", inputs), ("output", model.graph.output))
    ]
    if problems:
        raise Refused(*problems)
    return Signature(*(tuple(spec for spec in kind if spec is not None) for kind in specs))


def _checked(content: bytes) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        model = onnx.load_model_from_string(content)
    except DecodeError as error:
        refuse("FS105", f"the model must be ONNX: {error}")
    # Only the bytes of model.onnx are published: weights in another file would be missing.
    outside = [t.name for t in model.graph.initializer if t.data_location == onnx.TensorProto.EXTERNAL]
    if outside:
        refuse("FS105", f"the model must hold its weights itself, but {listed(outside)} is in another file")
    try:
        onnx.checker.check_model(model)
        return onnx.shape_inference.infer_shapes(model)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        lines = str(error).strip().splitlines() or ["no reason given"]
        refuse("FS105", f"the model must be valid ONNX: {lines[0]}")


def _spec(value: onnx.ValueInfoProto, kind: str, problems: list[Diagnostic]) -> TensorSpec | None:
    form = value.type.WhichOneof("value")
    if form != "tensor_type":
        what = (form or "untyped").removesuffix("_type")
        hint = "convert with `options={'zipmap': False}`" if form == "sequence_type" else ""
        message = f"{kind} `{cut(value.name)}` must be a tensor, but is {what}"
        problems.append(Diagnostic("FS105", message, hint=hint))
        return None
    tensor = value.type.tensor_type
    datatype = BY_ONNX.get(tensor.elem_type)
    if datatype is None or not tensor.HasField("shape"):
        lack = "a known number of dimensions" if datatype else "a datatype that the protocol has"
        problems.append(Diagnostic("FS105", f"{kind} `{cut(value.name)}` must have {lack}"))
        return None
    dims = tensor.shape.dim
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims)
    return TensorSpec(value.name, datatype, shape, tuple(dim.dim_param for dim in dims))


def _labelled(signature: Signature, labels: tuple[str, ...], named: str | None) -> Signature:
    names = [spec.name for spec in signature.outputs]
    if named is not None and named not in names:
        refuse("FS105", f"the probabilities output must be one of {listed(names)}, got `{cut(named)}`")
    if not labels:
        return signature
    if any(not label or "\n" in label or "\r" in label for label in labels):
        refuse("FS105", "every label must be one line of text that is not empty")
    floats = [spec.name for spec in signature.outputs if spec.datatype.name.startswith("FP")]
    chosen = named or (floats[0] if len(floats) == 1 else "")
    if not chosen:
        refuse("FS105", f"labels need `probabilities_output`, which must be one of {listed(names)}")
    outputs = tuple(
        msgspec.structs.replace(spec, labels=labels) if spec.name == chosen else spec
        for spec in signature.outputs
    )
    classes = next(spec.shape[-1] if spec.shape else 1 for spec in outputs if spec.name == chosen)
    if classes not in (-1, len(labels)):
        refuse("FS105", f"output `{chosen}` has {classes} classes, but there are {len(labels)} labels")
    return Signature(signature.inputs, outputs)
