"""Models in onnxruntime."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from flowc.plan.diagnostics import Place, refuse
from flowserve.core.arrays import Array
from flowserve.core.datatypes import BY_RUNTIME
from flowserve.core.models.model import Model
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature, TensorSpec, axis_conflict
from flowserve.shell.models.repository import ModelFolder
from flowserve.shell.models.weights import is_mapped

_REASON_LENGTH_MAX = 400


def load(folder: ModelFolder, version: int, settings: ModelSettings = ModelSettings()) -> Model:  # noqa: B008
    """Load one version of a model. Raises `Refused` FS103 with onnxruntime's reason.

    onnxruntime reads external weights from the version's own folder only.
    """
    file = folder.model_file(version)
    mapped = is_mapped(folder.version_folder(version), settings)
    settings = msgspec.structs.replace(settings, weights="mapped" if mapped else "prepacked")
    title = f"version {version} of model `{folder.name}`"
    try:
        session = onnxruntime.InferenceSession(
            str(file), _session_options(settings), providers=["CPUExecutionProvider"]
        )
    except Exception as error:  # onnxruntime's errors have no common base
        refuse("FS103", f"{title} does not load: {_reason(error)}", Place(str(file)))
    inputs, outputs = session.get_inputs(), session.get_outputs()
    for node in (*inputs, *outputs):
        if node.type not in BY_RUNTIME:
            hint = "convert with `options={'zipmap': False}`" if node.type.startswith("seq(map(") else ""
            message = f"{title} must take and give tensors, but `{node.name}` is `{node.type}`"
            refuse("FS103", message, Place(str(file)), hint=hint)
    signature = Signature(
        tuple(_spec(node, ()) for node in inputs),
        tuple(_spec(node, folder.labels.get(node.name, ())) for node in outputs),
    )
    return Model(folder.name, version, signature, _Runner(session, signature), settings)


class _Runner:
    """Runs a session; may be called from several threads at once."""

    def __init__(self, session: Any, signature: Signature) -> None:
        self._session = session
        self._signature = signature
        self._has_bits = any(s.datatype.name == "BF16" for s in (*signature.inputs, *signature.outputs))

    def __call__(self, feed: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        try:
            arrays: list[Array] = (
                _run_bits(self._session, self._signature, feed, outputs)
                if self._has_bits
                else self._session.run(outputs, feed)
            )
        except Exception as error:
            # Only now, since exporters reuse names of dimensions that need not agree.
            shapes = [feed[spec.name].shape for spec in self._signature.inputs]
            if conflict := axis_conflict(self._signature.inputs, shapes):
                refuse("FS205", f"the shape of input {conflict}")
            refuse("FS210", f"the model failed: {_reason(error)}")
        return arrays


def _run_bits(
    session: Any, signature: Signature, feed: Mapping[str, Array], outputs: Sequence[str]
) -> list[Array]:
    """Run a model that has BF16 somewhere: onnxruntime takes its bits, but gives them by address only."""
    make = onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type
    kinds = {spec.name: spec.datatype for spec in (*signature.inputs, *signature.outputs)}
    values = {
        name: make(np.asarray(array, order="C"), kinds[name].onnx)
        if kinds[name].name == "BF16"
        else onnxruntime.OrtValue.ortvalue_from_numpy(array)
        for name, array in feed.items()
    }
    given = session.run_with_ort_values(outputs, values)
    return [
        _bits(value) if kinds[name].name == "BF16" else value.numpy()
        for name, value in zip(outputs, given, strict=True)
    ]


def _bits(value: Any) -> Array:
    shape = value.shape()
    copied = ctypes.string_at(value.data_ptr(), 2 * math.prod(shape)) if math.prod(shape) else b""
    return np.frombuffer(copied, "<u2").reshape(shape)


def _session_options(settings: ModelSettings) -> Any:
    options = onnxruntime.SessionOptions()
    # Requests run beside each other, one thread each unless told otherwise: more threads a request would only
    # contend, and spinning ones take the processor from the loop that reads requests.
    options.intra_op_num_threads = settings.threads if settings.threads != "auto" else 1
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.inter_op.allow_spinning", "0")
    # An arena of each session's own would keep what its largest run took (a third of what a small model takes
    # in all), and is no faster than the allocator that they share.
    options.enable_cpu_mem_arena = False
    if settings.weights == "mapped":
        # Prepacking would copy the weights into a layout of its own: large batches run up to twice as fast
        # with that, but each process has a copy.
        options.add_session_config_entry("session.disable_prepacking", "1")
    options.log_severity_level = 4  # what goes wrong is raised as well
    return options


def _spec(node: Any, labels: tuple[str, ...]) -> TensorSpec:
    shape = tuple(size if isinstance(size, int) else -1 for size in node.shape)
    axes = tuple(size if isinstance(size, str) else "" for size in node.shape)
    return TensorSpec(node.name, BY_RUNTIME[node.type], shape, axes, labels)


def _reason(error: Exception) -> str:
    """onnxruntime's reason on one line, without the prefix `[ONNXRuntimeError] : 2 : INVALID_ARGUMENT :`."""
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError] : "):
        text = text.split(" : ", 3)[-1]
    return text[:_REASON_LENGTH_MAX] or type(error).__name__
