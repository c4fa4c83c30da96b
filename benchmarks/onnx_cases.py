"""The ONNX package's own backend cases: those that onnxruntime, in process, answers as they want it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

_STORED = ("simple", "pytorch-operator", "pytorch-converted", "light")
_DATATYPES = {
    "tensor(bool)": "BOOL",
    "tensor(int8)": "INT8",
    "tensor(int16)": "INT16",
    "tensor(int32)": "INT32",
    "tensor(int64)": "INT64",
    "tensor(uint8)": "UINT8",
    "tensor(uint16)": "UINT16",
    "tensor(uint32)": "UINT32",
    "tensor(uint64)": "UINT64",
    "tensor(float16)": "FP16",
    "tensor(bfloat16)": "BF16",
    "tensor(float)": "FP32",
    "tensor(double)": "FP64",
    "tensor(string)": "BYTES",
}


class Case(NamedTuple):
    """A model, and for some inputs (name, protocol datatype, array) the outputs that onnxruntime gave."""

    name: str
    model: bytes
    inputs: list[tuple[str, str, Any]]
    outputs: list[tuple[str, str, Any]]
    rtol: float
    atol: float


def matching_cases(only: re.Pattern[str], skipped: Counter[str]) -> Iterator[Case]:
    """Every case that onnxruntime matches in process, each data set of it a case of its own."""
    from onnx import load
    from onnx.backend.test.loader import load_model_tests

    for kind in ("node", *_STORED):
        for test in load_model_tests(kind=kind):
            name = f"{kind}.{test.name}"
            if not only.search(name):
                continue
            folder = Path(test.model_dir) if test.model_dir else None
            model = load(folder / "model.onnx") if folder else test.model
            sets: Any = _stored_sets(folder) if folder else test.data_sets
            yield from _matching(name, model, sets or [], (test.rtol, test.atol), skipped)


def same(array: Any, wanted: Any, tolerance: tuple[float, float]) -> bool:
    """Whether an output is what was wanted, floats within the (relative, absolute) tolerance."""
    import numpy as np

    array, wanted = np.asarray(array), np.asarray(wanted)
    if array.shape != wanted.shape:
        return False
    if wanted.dtype.kind in "OSUT":
        return [text_of(v) for v in array.ravel()] == [text_of(v) for v in wanted.ravel()]
    if wanted.dtype.kind in "biu":
        return bool(np.array_equal(array, wanted))
    rtol, atol = tolerance
    return bool(np.allclose(array.astype(np.float64), wanted.astype(np.float64), rtol, atol, equal_nan=True))


def text_of(value: Any) -> str:
    """An element of strings as text."""
    return value.decode() if isinstance(value, bytes) else str(value)


def _stored_sets(folder: Path) -> list[tuple[list[Any], list[Any]]]:
    from onnx import TensorProto, numpy_helper

    def read(file: Path) -> Any:
        try:
            return numpy_helper.to_array(TensorProto.FromString(file.read_bytes()))
        except Exception:
            return None  # a sequence or an optional, which `_matching` counts

    def kind(data: Path, name: str) -> list[Any]:
        return [read(data / f"{name}_{i}.pb") for i in range(len(list(data.glob(f"{name}_*.pb"))))]

    return [(kind(data, "input"), kind(data, "output")) for data in sorted(folder.glob("test_data_set_*"))]


def _matching(
    name: str, model: Any, sets: list[Any], tolerance: tuple[float, float], skipped: Counter[str]
) -> Iterator[Case]:
    content = model.SerializeToString()
    session = _session(content)
    if session is None:
        skipped["cases that onnxruntime does not load"] += 1
        return
    taken, given = session.get_inputs(), session.get_outputs()
    if any(node.type not in _DATATYPES for node in (*taken, *given)):
        skipped["cases of types that the protocol does not have"] += 1
        return
    for index, (inputs, outputs) in enumerate(sets):
        named, expected = _named(taken, inputs), _named(given, outputs)
        if len(inputs) != len(taken) or not all(
            hasattr(array, "dtype") for _, _, array in (*named, *expected)
        ):
            skipped["cases whose data are not tensors"] += 1
        elif not _runs(session, named, expected, tolerance):
            skipped["cases that onnxruntime does not match in process"] += 1
        else:
            yield Case(name if len(sets) == 1 else f"{name}.{index}", content, named, expected, *tolerance)


def _named(nodes: list[Any], arrays: list[Any]) -> list[tuple[str, str, Any]]:
    from onnx import TensorProto, numpy_helper

    return [
        (node.name, _DATATYPES[node.type], numpy_helper.to_array(a) if isinstance(a, TensorProto) else a)
        for node, a in zip(nodes, arrays, strict=False)
    ]


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    try:
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception:  # onnxruntime's errors have no common base
        return None


def _runs(session: Any, named: list[Any], expected: list[Any], tolerance: tuple[float, float]) -> bool:
    import numpy as np
    import onnxruntime

    def value(datatype: str, array: Any) -> Any:
        if datatype == "BF16":
            bits = np.asarray(array, order="C").view(np.uint16)
            return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(bits, 16)
        return onnxruntime.OrtValue.ortvalue_from_numpy(np.asarray(array, order="C"))

    try:
        if any(datatype == "BF16" for _, datatype, _ in (*named, *expected)):
            feed = {name: value(datatype, array) for name, datatype, array in named}
            values = session.run_with_ort_values([name for name, _, _ in expected], feed)
            arrays = [_read(value) for value in values]
        else:
            arrays = session.run([name for name, _, _ in expected], {name: array for name, _, array in named})
    except Exception:
        return False
    pairs = zip(arrays, expected, strict=True)
    return all(same(array, wanted, tolerance) for array, (_, _, wanted) in pairs)


def _read(value: Any) -> Any:
    """An output as numpy has it; of BF16 onnxruntime tells only the address."""
    import ctypes
    import math

    import ml_dtypes
    import numpy as np

    if value.data_type() != "tensor(bfloat16)":
        return value.numpy()
    size = 2 * math.prod(value.shape())
    content = ctypes.string_at(value.data_ptr(), size) if size else b""
    return np.frombuffer(content, ml_dtypes.bfloat16).reshape(value.shape())
