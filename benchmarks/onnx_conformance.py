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
from typing import Any

from benchmarks import harness
from benchmarks.onnx_cases import Case, matching_cases, same, text_of


def measure(only: str, show_failures: int) -> dict[str, Any]:
    """Serve the cases and compare. `only` is a regular expression of names."""
    warnings.simplefilter("ignore")
    os.environ["ALLOW_RELEASED_ONNX_OPSET_ONLY"] = "0"  # or onnxruntime skips the onnx package's newest opset
    skipped: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as folder:
        cases = []
        for case in matching_cases(re.compile(only), skipped):
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
        "cases_by_datatype": dict(sorted(_datatypes(cases).items())),
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
    of = (f"{count} {datatype}" for datatype, count in figures["cases_by_datatype"].items())
    lines.append(f"cases with tensors of: {', '.join(of)}")
    lines += [f"not served: {count} {reason}" for reason, count in figures["not_served"].items()]
    return "\n".join(lines)


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


def _datatypes(cases: list[Case]) -> Counter[str]:
    """How many cases have each datatype among their inputs or outputs."""
    return Counter(
        datatype for case in cases for datatype in {kind for _, kind, _ in (*case.inputs, *case.outputs)}
    )


def _in_json(case: Case) -> bool:
    import numpy as np

    for _, datatype, array in (*case.inputs, *case.outputs):
        if datatype == "BF16" or (datatype.startswith("FP") and not np.isfinite(array).all()):
            return False
    return True


def _for_client(datatype: str, array: Any) -> Any:
    import numpy as np

    if datatype == "BYTES":
        return np.array([text_of(v).encode() for v in array.ravel()], object).reshape(array.shape)
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
            same(array, wanted, (case.rtol, case.atol))
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
