"""The ONNX package's own backend cases, served: what onnxruntime matches in process must match over the wire.

Cases: `onnx.backend.test`: node cases that the package makes, and the small models that it stores. Each goes
through `tritonclient`, over every wire of `WIRES`. Not served are cases that the protocol cannot say at all
(sequences, optionals, float8 and 4-bit types), and JSON leaves out what JSON cannot say (NaN and infinities;
JSON of tritonclient has no BF16): their numbers are told.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import inspect
import os
import re
import subprocess
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import harness

_STORED = ("simple", "pytorch-operator", "pytorch-converted", "light")


class Case(NamedTuple):
    """A model, and for some inputs (name, protocol datatype, array) the outputs that onnxruntime gave."""

    name: str
    model: bytes
    inputs: list[tuple[str, str, Any]]
    outputs: list[tuple[str, str, Any]]
    rtol: float
    atol: float


def measure(only: str, show_failures: int) -> dict[str, Any]:
    """Serve the cases and compare. `only` is a regular expression of names."""
    warnings.simplefilter("ignore")
    os.environ["ALLOW_RELEASED_ONNX_OPSET_ONLY"] = "0"  # or onnxruntime skips the onnx package's newest opset
    skipped: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for case in _cases(re.compile(only), skipped):
            version = Path(folder) / case.name / "1"
            version.mkdir(parents=True)
            (version / "model.onnx").write_bytes(case.model)
            cases.append(case._replace(model=b""))
        command = [str(Path(sys.executable).parent / "flowserve"), "start", "--models", folder]
        command += ["--http", "127.0.0.1:0", "--grpc", "127.0.0.1:0"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
            try:
                addresses = _addresses(server)
                wires = {name: _try(ask, addresses[name[:4]], cases) for name, ask in WIRES.items()}
            finally:
                server.terminate()
    for name, (_, _, failures) in wires.items():
        for failure in failures[:show_failures]:
            print(f"{name}: {failure}", file=sys.stderr)
    return {
        "benchmark": "onnx_conformance",
        "cases": len(cases),
        "not_served": dict(sorted(skipped.items())),
        "wires": {
            name: {"matched": matched, "cannot_say": unsaid, "differ": len(failures)}
            for name, (matched, unsaid, failures) in wires.items()
        },
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{figures['cases']} cases of the onnx package match in process; served through tritonclient:"]
    for name, wire in figures["wires"].items():
        lines.append(
            f"{name:<12} {wire['matched']:>5} match  {wire['differ']:>4} differ"
            f"  {wire['cannot_say']:>4} that it cannot say"
        )
    lines += [f"not served: {count} {reason}" for reason, count in figures["not_served"].items()]
    return "\n".join(lines)


def _cases(only: re.Pattern[str], skipped: Counter[str]) -> Iterator[Case]:
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
    return all(_same(array, wanted, tolerance) for array, (_, _, wanted) in pairs)


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


def _same(array: Any, wanted: Any, tolerance: tuple[float, float]) -> bool:
    import numpy as np

    array, wanted = np.asarray(array), np.asarray(wanted)
    if array.shape != wanted.shape:
        return False
    if wanted.dtype.kind in "OSUT":
        return [_text(v) for v in array.ravel()] == [_text(v) for v in wanted.ravel()]
    if wanted.dtype.kind in "biu":
        return bool(np.array_equal(array, wanted))
    rtol, atol = tolerance
    return bool(np.allclose(array.astype(np.float64), wanted.astype(np.float64), rtol, atol, equal_nan=True))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


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

Ask = Callable[[Case], "list[Any] | None"]
"""The outputs of a case, in its order; None when the wire cannot say it."""
Connect = Callable[[str], AbstractContextManager[Ask]]
"""From an address to what asks there."""


def _asked(client: str, json: bool = False) -> Connect:
    """Ask with a client of tritonclient, by the name of its module."""

    @contextlib.contextmanager
    def connected(address: str) -> Iterator[Ask]:
        kind = importlib.import_module(f"tritonclient.{client}")
        limit: dict[str, Any] = {"client_timeout": 60.0} if client.startswith("grpc") else {}
        in_binary: dict[str, Any] = {} if client.startswith("grpc") else {"binary_data": not json}
        with asyncio.Runner() as runner:

            async def made() -> Any:  # those of asyncio want the loop that they are used on
                return kind.InferenceServerClient(address)

            async def awaited(begun: Any) -> Any:
                return await begun

            def finished(begun: Any) -> Any:
                return runner.run(awaited(begun)) if inspect.isawaitable(begun) else begun

            connection = runner.run(made())

            def ask(case: Case) -> list[Any] | None:
                if json and not _in_json(case):
                    return None
                inputs = []
                for name, datatype, array in case.inputs:
                    inputs.append(kind.InferInput(name, list(array.shape), datatype))
                    inputs[-1].set_data_from_numpy(_for_client(datatype, array), **in_binary)
                wanted = [kind.InferRequestedOutput(name, **in_binary) for name, _, _ in case.outputs]
                result = finished(connection.infer(case.name, inputs, outputs=wanted, **limit))
                return [result.as_numpy(name) for name, _, _ in case.outputs]

            yield ask
            finished(connection.close())

    return connected


WIRES: dict[str, Connect] = {
    "http json": _asked("http", json=True),
    "http binary": _asked("http"),
    "http asyncio": _asked("http.aio"),
    "grpc": _asked("grpc"),
    "grpc asyncio": _asked("grpc.aio"),
}
"""By name, whose first four letters are the protocol's."""


def _in_json(case: Case) -> bool:
    import numpy as np

    for _, datatype, array in (*case.inputs, *case.outputs):
        if datatype == "BF16" or (datatype.startswith("FP") and not np.isfinite(array).all()):
            return False
    return True


def _for_client(datatype: str, array: Any) -> Any:
    import numpy as np

    if datatype == "BYTES":
        return np.array([_text(v).encode() for v in array.ravel()], object).reshape(array.shape)
    return array


def _try(connect: Connect, address: str, cases: list[Case]) -> tuple[int, int, list[str]]:
    with connect(address) as ask:
        return _tried(ask, cases)


def _tried(ask: Ask, cases: list[Case]) -> tuple[int, int, list[str]]:
    matched, unsaid, failures = 0, 0, []
    for case in cases:
        try:
            arrays = ask(case)
        except Exception as error:  # whatever the client raises is a difference
            failures.append(f"{case.name}: {error}")
            continue
        if arrays is None:
            unsaid += 1
        elif all(
            _same(array, wanted, (case.rtol, case.atol))
            for array, (_, _, wanted) in zip(arrays, case.outputs, strict=True)
        ):
            matched += 1
        else:
            failures.append(f"{case.name}: the outputs differ")
    return matched, unsaid, failures


def _addresses(server: subprocess.Popen[str]) -> dict[str, str]:
    """Where it listens, by protocol; HTTP is told last."""
    assert server.stdout is not None
    found: dict[str, str] = {}
    for line in server.stdout:
        if told := re.search(r"listening on (http|grpc)://(\S+)", line):
            found[told[1]] = told[2]
        if "http" in found:
            return found
    sys.exit("the server ended before it listened")


if __name__ == "__main__":
    harness.run(measure, show, only="", show_failures=10)
