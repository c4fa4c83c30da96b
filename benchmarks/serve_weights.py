"""Large weights: mapped from their file and shared, against read and prepacked by every process."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks import harness, serving
from benchmarks.many_models import started

WAYS = ("mapped", "prepacked")


def measure(mib: int, layers: int) -> dict[str, Any]:
    """Publish a perceptron with weights of about so many MiB, load it both ways, and serve it both ways."""
    from flowserve.shell.models.repository import publish

    harness.byte_compile()
    width = int((mib * 2**20 / 4 / layers) ** 0.5)
    with tempfile.TemporaryDirectory() as name:
        os.environ["XDG_RUNTIME_DIR"] = name
        models, tiny = Path(name) / "models", Path(name) / "tiny"
        publish(models, "model", serving.perceptron([width] * (layers + 1)))
        publish(tiny, "model", serving.perceptron(serving.SMALL))
        figures: dict[str, Any] = {"benchmark": "serve_weights", "weights_mib": mib, "width": width}
        base = {processes: _private_kb(tiny, Path(name), "mapped", processes) for processes in (1, 2)}
        for way in WAYS:
            child = [
                sys.executable,
                "-m",
                "benchmarks.serve_weights",
                "--child",
                way,
                str(models),
                str(width),
            ]
            found = json.loads(subprocess.run(child, stdout=subprocess.PIPE, check=True).stdout)
            for processes in (1, 2):
                private = _private_kb(models, Path(name), way, processes) - base[processes]
                found[f"private_mib_{processes}"] = round(private / 1024, 1)
            figures[way] = found
    return figures | harness.machine()


def load_and_run(way: str, models: Path, width: int) -> dict[str, float]:
    """In a process of its own: how long it takes to load, and then to run."""
    import numpy as np

    from flowserve.core.models.key import Key
    from flowserve.core.models.settings import ModelSettings
    from flowserve.shell.models.proving import load_proven

    began = time.perf_counter()
    model = load_proven(models, Key("model", 1), ModelSettings(weights=way))  # type: ignore[arg-type]
    found = {"load_ms": round((time.perf_counter() - began) * 1e3, 1)}
    for rows in (1, 64):
        feed = {"input": np.full((rows, width), 0.01, np.float32)}
        took = []
        for _ in range(8):
            began = time.perf_counter()
            model.run(feed, ["output"])
            took.append((time.perf_counter() - began) * 1e3)
        found[f"run_ms_{rows}"] = round(min(took[1:]), 2)
    return found


def _private_kb(models: Path, folder: Path, way: str, processes: int) -> int:
    """What the processes of a server have of their own, after they have answered."""
    from flowserve.core.wire.addresses import Tcp
    from flowserve.shell.processes.control import Status, ask

    config = folder / "flowserve.toml"
    config.write_text(f'processes = {processes}\n[model.model]\nweights = "{way}"\n')
    with started(models, "--config", str(config)) as (port, _, _):
        workers = ask(Tcp("127.0.0.1", port), Status()).processes
        status = [Path(f"/proc/{worker}/status").read_text() for worker in workers]
        return sum(int(found[1]) for text in status if (found := re.search(r"RssAnon:\s+(\d+)", text)))


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    rows = [
        ("load", "load_ms", "ms"),
        ("run of 1 row", "run_ms_1", "ms"),
        ("run of 64 rows", "run_ms_64", "ms"),
        ("private memory, 1 process", "private_mib_1", "MiB"),
        ("private memory, 2 processes", "private_mib_2", "MiB"),
    ]
    title = f"{figures['weights_mib']} MiB of weights, {figures['width']} wide"
    lines = [f"{title:<30}{WAYS[0]:>14}{WAYS[1]:>14}"]
    for title, key, unit in rows:
        values = "".join(f"{figures[way][key]:>14}" for way in WAYS)
        lines.append(f"{title:<30}{values} {unit}")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        print(json.dumps(load_and_run(sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))))
    else:
        harness.run(measure, show, mib=192, layers=12)
