"""What the benchmarks share: timing whole processes, alternating sides, medians, and the two outputs."""

from __future__ import annotations

import argparse
import compileall
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def byte_compile() -> None:
    """Compile the project's packages, so that no side pays for it while it is timed."""
    for package in ("flowc", "flowrun", "flowserve", "stdlib"):
        compileall.compile_dir(str(ROOT / package), quiet=2)


def wall_ms(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None) -> float:
    """Milliseconds from the start of a process to its exit; a failing one ends the benchmark."""
    began = time.perf_counter()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    took = (time.perf_counter() - began) * 1000
    if done.returncode:
        sys.exit(f"{' '.join(command)} exited with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return took


def alternate(sides: Mapping[str, Callable[[], float]], repeats: int) -> dict[str, list[float]]:
    """Measure every side in turn, `repeats` times after a warm-up, so that a slow spell hits all of them."""
    for measure in sides.values():
        measure()
    figures: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(repeats):
        for name, measure in sides.items():
            figures[name].append(measure())
    return figures


def spread(figures: Sequence[float]) -> dict[str, float]:
    """Median, least and greatest, rounded to a tenth."""
    return {
        "median": round(statistics.median(figures), 1),
        "min": round(min(figures), 1),
        "max": round(max(figures), 1),
    }


def machine() -> dict[str, Any]:
    """What a reader must know to judge the figures."""
    return {"python": sys.version.split()[0], "cpus": os.cpu_count()}


def run(
    measure: Callable[..., dict[str, Any]], show: Callable[[dict[str, Any]], str], **options: Any
) -> None:
    """Make a command of a benchmark, with `--json` and an option for each of `options` (name: default)."""
    parser = argparse.ArgumentParser(description=measure.__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    for name, default in options.items():
        parser.add_argument(f"--{name}", type=type(default), default=default, help=f"default: {default}")
    chosen = vars(parser.parse_args())
    as_json = chosen.pop("json")
    figures = measure(**chosen)
    print(json.dumps(figures) if as_json else show(figures))
