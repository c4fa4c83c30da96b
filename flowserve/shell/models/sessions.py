"""Models in onnxruntime."""

from __future__ import annotations

import contextlib
import ctypes
import math
import re
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import numpy as np
import onnxruntime

from flowc.plan.diagnostics import Place, Refused, refuse
from flowserve.core.arrays import Array
from flowserve.core.datatypes import BY_RUNTIME
from flowserve.core.engine.profile import sample
from flowserve.core.models.model import Model
from flowserve.core.models.providers import CPU, OF_GPU, Word, with_options
from flowserve.core.models.seat import Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature, TensorSpec, axis_conflict
from flowserve.shell.models.repository import ModelFolder
from flowserve.shell.models.weights import is_mapped

_REASON_LENGTH_MAX = 400
_RECORD = "session.record_ep_graph_assignment_info"
_SHRINK = "memory.enable_memory_arena_shrinkage"
# `/onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:360 void* onnxruntime::BFCArena::Allocate(int) `
_SOURCE = re.compile(r"/\S+\.(?:cc|cu|h):\d+ [^()]*\([^()]*\) ")
_IS_BOUND = "is smaller than requested bytes"
_MORE = "`gpu_memory_mb` gives the model more of the GPU's memory"
_ON_HOST = Seat()
# Runs only read it. Where none is given, one is made with each run, in 0.8 us.
_RUN_OPTIONS = onnxruntime.RunOptions()
_LIBRARIES = (
    "`pip install 'onnxruntime-gpu[cuda,cudnn]'` brings CUDA and cuDNN along; TensorRT is NVIDIA's `tensorrt`"
)


def load(
    folder: ModelFolder,
    version: int,
    settings: ModelSettings = ModelSettings(),  # noqa: B008
    seat: Seat = _ON_HOST,
    limit_bytes: int = 0,
    engines: str = "",
) -> Model:
    """Load one version of a model. Raises `Refused` FS103 with onnxruntime's reason.

    onnxruntime reads external weights from the version's own folder only. On a GPU its arena has no more than
    `limit_bytes`, 0 for any; `engines` is TensorRT's folder. Raises FS267 when it cannot compute there but
    was told to; where that was left open it computes on the CPU, and its seat says why.
    """
    file = folder.model_file(version)
    mapped = is_mapped(folder.version_folder(version), settings)
    settings = msgspec.structs.replace(settings, weights="mapped" if mapped else "prepacked")
    title = f"version {version} of model `{folder.name}`"
    word: Word = "cpu" if not seat.on_gpu else "tensorrt" if settings.providers == "tensorrt" else "cuda"
    try:
        providers = with_options(word, seat, limit_bytes, settings, engines)
        session = create_session(str(file), session_options(settings), providers)
        if seat.on_gpu and (reason := _not_on_gpu(session, OF_GPU[word][0])):
            if settings.providers != "auto":
                refuse("FS267", f"{title} was to compute with `{word}`, and {reason}", hint=_LIBRARIES)
            seat, word = Seat(reason=reason), "cpu"
            session = create_session(
                str(file), session_options(settings), with_options(word, seat, 0, settings, "")
            )
    except Refused:
        raise
    except Exception as error:  # onnxruntime's errors have no common base
        refuse("FS103", f"{title} does not load: {_reason(error)}", Place(str(file)))
    settings = msgspec.structs.replace(settings, providers=word, device=seat.number if seat.on_gpu else None)
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
    return Model(folder.name, version, signature, _Runner(session, signature, seat), settings, seat=seat)


def keep_no_more(model: Model) -> None:
    """Have a model on a GPU give back what a run takes that is larger than those until now, after it."""
    if isinstance(model.run, _Runner):
        model.run.keep_no_more()


def available_providers() -> list[str]:
    """The execution providers that this onnxruntime was built with, whether or not they would work."""
    return list(onnxruntime.get_available_providers())


def create_session(model: str | bytes, options: Any, providers: list[tuple[str, dict[str, str]]]) -> Any:
    """The one place where onnxruntime is asked for a session, of a file or bytes. Raises what that raises."""
    if providers[0][0] != CPU:
        _preload()
        options.add_session_config_entry(_RECORD, "1")
        # It would otherwise try again without the GPU, at this moment or when a run fails, and print so.
        return onnxruntime.InferenceSession(model, options, providers=providers, enable_fallback=0)
    return onnxruntime.InferenceSession(model, options, providers=[CPU])


@cache
def _preload() -> None:
    """Find CUDA and cuDNN among the Python packages, where they may have been installed with onnxruntime."""
    onnxruntime.set_default_logger_severity(3)  # errors: it warns of each session that it looked for plugins
    if hasattr(onnxruntime, "preload_dlls"):
        with contextlib.redirect_stdout(sys.stderr):  # where it says what it does not find
            onnxruntime.preload_dlls()


def _not_on_gpu(session: Any, wanted: str) -> str:
    """Why a session does not compute on the GPU, where that is so: onnxruntime does not raise it."""
    if wanted not in session.get_providers():
        return f"onnxruntime could not begin `{wanted}`: what it said of that stands in the server's log"
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return ""  # onnxruntime before 1.24
    parts = session.get_provider_graph_assignment_info()
    if parts and all(part.ep_name != wanted for part in parts):
        return "none of its operators can run there"
    return ""


class _Runner:
    """Runs a session; may be called from several threads at once."""

    def __init__(self, session: Any, signature: Signature, seat: Seat) -> None:
        self._session = session
        # Of 5.6 us that a small model takes, 1.0 is for checks of onnxruntime's Python that a feed of this
        # signature has passed already, and for a fallback that no session here has.
        self._run_session = getattr(session, "_sess", session).run
        self._signature = signature
        self._on_gpu = seat.on_gpu
        self._ran_bytes = 0
        self._kept_bytes = math.inf  # of inputs: after a run of more the arena shrinks
        self._shrinking = onnxruntime.RunOptions()
        if seat.on_gpu:
            self._shrinking.add_run_config_entry(_SHRINK, seat.space)
        self._has_bits = any(s.datatype.name == "BF16" for s in (*signature.inputs, *signature.outputs))

    def keep_no_more(self) -> None:
        """Let the arena be no larger than after the largest run until now."""
        self._kept_bytes = self._ran_bytes

    def __call__(self, feed: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        try:
            arrays = self._run_on_gpu(feed, outputs) if self._on_gpu else self._run(feed, outputs)
        except Exception as error:
            # Only now, since exporters reuse names of dimensions that need not agree.
            shapes = [feed[spec.name].shape for spec in self._signature.inputs]
            if conflict := axis_conflict(self._signature.inputs, shapes):
                refuse("FS205", f"the shape of input {conflict}")
            reason = _reason(error)
            refuse("FS210", f"the model failed: {reason}", hint=_MORE if _IS_BOUND in reason else "")
        return arrays

    def _run(
        self, feed: Mapping[str, Array], outputs: Sequence[str], options: Any = _RUN_OPTIONS
    ) -> list[Array]:
        if self._has_bits:
            return _run_bits(self._session, self._signature, feed, outputs, options)
        arrays: list[Array] = self._run_session(outputs, feed, options)
        return arrays

    def _run_on_gpu(self, feed: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        size = sum(array.nbytes for array in feed.values())
        if is_usual := size <= self._kept_bytes:
            self._ran_bytes = max(self._ran_bytes, size)
        try:
            return self._run(feed, outputs, None if is_usual else self._shrinking)
        except Exception as error:
            if _IS_BOUND not in str(error) or not self._tidied(outputs):
                raise
        # Within its bound the arena is in pieces of sizes that other numbers of rows needed.
        return self._run(feed, outputs, self._shrinking)

    def _tidied(self, outputs: Sequence[str]) -> bool:
        """Give back what the arena does not hold weights in, which is done at the end of a run."""
        try:
            self._run(sample(self._signature.inputs, 1), outputs, self._shrinking)
        except Exception:
            return False
        return True


def _run_bits(
    session: Any, signature: Signature, feed: Mapping[str, Array], outputs: Sequence[str], options: Any
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
    given = session.run_with_ort_values(outputs, values, options)
    return [
        _bits(value) if kinds[name].name == "BF16" else value.numpy()
        for name, value in zip(outputs, given, strict=True)
    ]


def _bits(value: Any) -> Array:
    shape = value.shape()
    copied = ctypes.string_at(value.data_ptr(), 2 * math.prod(shape)) if math.prod(shape) else b""
    return np.frombuffer(copied, "<u2").reshape(shape)


def session_options(settings: ModelSettings) -> Any:
    """How a session runs."""
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
    """onnxruntime's reason on one line, without where that stands in its source and the prefix

    `[ONNXRuntimeError] : 2 : INVALID_ARGUMENT :`.
    """
    text = " ".join(str(error).split())
    if text.startswith("[ONNXRuntimeError] : "):
        text = text.split(" : ", 3)[-1]
    text = _SOURCE.sub("", text)
    return text[:_REASON_LENGTH_MAX] or type(error).__name__
