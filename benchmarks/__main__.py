"""Run the quick benchmarks and write their figures to `benchmarks/RESULTS.md`: `make bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

HEAD = """# Results

Written by `make bench`. Compare within a section: machines differ. `PEERS=PYTHON make bench` measures beside
dask and flytekit, where that Python has them.
"""
QUICK = ("six_step", "start_up", "compile_layers", "recompile", "serve_latency")


def main() -> None:
    """Run each benchmark in a process of its own, print its text, and write all of them to a file."""
    sections = [HEAD]
    for name in QUICK:
        command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            sys.exit(f"benchmarks.{name} failed\n{done.stdout}{done.stderr}")
        figures = json.loads(done.stdout)
        text = import_module(f"benchmarks.{name}").show(figures)
        print(f"{text}\n", flush=True)
        machine = f"Python {figures['python']}, {figures['cpus']} CPUs"
        sections.append(f"## {name}\n\n`python -m benchmarks.{name}` on {machine}:\n\n```\n{text}\n```\n")
    path = Path(__file__).parent / "RESULTS.md"
    path.write_text("\n".join(sections), encoding="utf-8")
    print(f"written to {path.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main()
