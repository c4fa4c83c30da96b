"""Models served from a GPU beside the same from this host's processors, with and without batches.

The processors have all cores but the client's, a process each, as `flowserve start` does it by itself; the
GPU has one process. Where NVML shows no GPU, or onnxruntime has no CUDA, there is nothing to measure.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchmarks import harness, load, serving

LARGE = (1024, 4096, 4096, 4096, 1000)
CHANNELS = (3, 64, 128, 256, 256)
PIXELS = 64
_START_S = 60.0


class Case(msgspec.Struct, frozen=True):
    """A model, and the shape of one row of its input."""

    onnx: bytes
    shape: tuple[int, ...]


def cases() -> dict[str, Case]:
    """What is served, by its title."""
    return {
        "perceptron " + "-".join(map(str, sizes)): Case(serving.perceptron(sizes), sizes[:1])
        for sizes in (serving.MEDIUM, LARGE)
    } | {
        f"convolutions on {PIXELS} x {PIXELS}": Case(convolutions(CHANNELS, PIXELS), (3, PIXELS, PIXELS)),
    }


def convolutions(channels: Sequence[int], pixels: int) -> bytes:
    """Pairs of 3 by 3 convolutions, the second of each halving the image; their mean, and 10 classes."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    nodes, weights, source = [], [], "input"

    def weight(name: str, *sizes: int) -> str:
        values = generator.standard_normal(sizes) * np.sqrt(2 / np.prod(sizes[1:]))
        weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    for i, (before, after) in enumerate(itertools.pairwise(channels)):
        for j, (taken, stride) in enumerate(((before, 1), (after, 2))):
            name = f"{i}{j}"
            kernel = weight(f"w{name}", after, taken, 3, 3)
            node = helper.make_node(
                "Conv",
                [source, kernel],
                [f"c{name}"],
                kernel_shape=[3, 3],
                pads=[1, 1, 1, 1],
                strides=[stride, stride],
            )
            nodes.append(node)
            nodes.append(helper.make_node("Relu", [f"c{name}"], [f"r{name}"]))
            source = f"r{name}"
    nodes.append(helper.make_node("GlobalAveragePool", [source], ["pooled"]))
    nodes.append(helper.make_node("Flatten", ["pooled"], ["flat"]))
    matrix = weight("w", 10, channels[-1])
    nodes.append(helper.make_node("Gemm", ["flat", matrix], ["output"], transB=1))
    shape: list[str | int | None] = ["batch", channels[0], pixels, pixels]
    given = helper.make_tensor_value_info("input", TensorProto.FLOAT, shape)
    made = helper.make_tensor_value_info("output", TensorProto.FLOAT, ["batch", 10])
    graph = helper.make_graph(nodes, "convolutions", [given], [made], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def measure(seconds: float, connections: int) -> dict[str, Any]:
    """Drive each model on each side with one connection, and with many."""
    gpu = _gpu()
    harness.byte_compile()
    found: dict[str, dict[str, Any]] = {}
    for title, case in cases().items():
        request = serving.raw_request((1, *case.shape))
        sides = found[title] = {}
        for providers, batches in itertools.product(("cpu", "cuda"), (False, True)):
            with (
                tempfile.TemporaryDirectory() as folder,
                _served(Path(folder), case, providers, batches) as at,
            ):
                alone = load.pinned(load.closed_loop, *at, request, 1, seconds / 3)
                together = load.pinned(load.closed_loop, *at, request, connections, seconds)
            side = f"{providers}, batches {'on' if batches else 'off'}"
            sides[side] = {"alone_us": alone[1], "per_s": together[0], "us": together[1]}
    return {
        "benchmark": "serve_gpu",
        "gpu": gpu,
        "connections": connections,
        "models": found,
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    many = figures["connections"]
    lines = [f"one row a request, {figures['gpu']} against {figures['cpus'] - 1} cores, milliseconds"]
    for title, sides in figures["models"].items():
        lines.append(f"{title:<38}{'alone':>8}{'p99':>8}{f'of {many}':>10}{'p99':>8}{'rows/s':>10}")
        for side, of in sides.items():
            times = [of["alone_us"]["p50"], of["alone_us"]["p99"], of["us"]["p50"], of["us"]["p99"]]
            alone, alone_99, together, together_99 = (f"{us / 1e3:.2f}" for us in times)
            lines.append(
                f"  {side:<36}{alone:>8}{alone_99:>8}{together:>10}{together_99:>8}{of['per_s']:>10.0f}"
            )
    return "\n".join(lines)


def _gpu() -> str:
    """The GPU's name; the end where there is none that onnxruntime could compute on."""
    from flowserve.shell.models.gpus import detect
    from flowserve.shell.processes.gpus import has_cuda

    gpus = detect(os.environ, print)
    if not gpus:
        sys.exit("NVML shows no GPU here: there is nothing to measure")
    if not has_cuda():
        sys.exit("this onnxruntime has no CUDA: docs/gpu.md says how to install one that does")
    return gpus[0].name


@contextlib.contextmanager
def _served(folder: Path, case: Case, providers: str, batches: bool) -> Iterator[tuple[str, int]]:
    from flowserve.core.wire.addresses import Tcp
    from flowserve.shell.models.repository import publish
    from flowserve.shell.processes.control import Status, ask

    publish(folder / "models", "model", case.onnx)
    config = folder / "flowserve.toml"
    config.write_text(f'providers = "{providers}"\n')
    where = os.sched_getaffinity(0) - serving.cores()[1] or serving.cores()[0]
    processes = len(where) if providers == "cpu" else 1
    command = [str(Path(sys.executable).parent / "flowserve"), "start", "--http", "127.0.0.1:0"]
    command += ["--models", str(folder / "models"), "--config", str(config), "--processes", str(processes)]
    command += [] if batches else ["--no-batching"]
    with serving.listening(command, where=where) as (host, port, _):
        end = time.monotonic() + _START_S
        while len(ask(Tcp(host, port), Status()).processes) < processes:  # the first answers already
            if time.monotonic() > end:
                sys.exit(f"there are no {processes} processes after {_START_S:.0f} s")
            time.sleep(0.1)
        yield host, port


if __name__ == "__main__":
    harness.run(measure, show, seconds=4.0, connections=32)
