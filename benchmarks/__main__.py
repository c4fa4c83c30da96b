"""Run the quick benchmarks and write their figures to `benchmarks/RESULTS.md`: `make bench`."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from pathlib import Path

from benchmarks.graph_files import data_folder

HEAD = """# Results

Written by `make bench`. Compare within a section: machines differ. `PEERS=PYTHON make bench` measures beside
what that Python has of the tools that others use: the extra `peers` is Ray, dask and Parsl (flytekit has to
be added), `peers-serve` mosec, LitServe, MLServer and Triton. They do not get along in one environment:
`PEERS=PYTHON python -m benchmarks serve_latency serve_throughput` measures some again beside others.
"""
QUICK: dict[str, tuple[str, ...]] = {  # by name, the options that make it quick; `DATA` is the data's folder
    "six_step": (),
    "forked_node": (),
    "dispatch": ("--repeats", "3", "--most", "20000"),
    "handover": (),
    "start_up": (),
    "compile_layers": (),
    "recompile": (),
    "serve_latency": (),
    "serve_grpc_latency": ("--requests", "2000"),
    "serve_throughput": (),
    "serve_batching": (),
    "serve_overload": (),
    "serve_reload": (),
    "serve_weights": (),
    "many_models": ("--asked", "100"),
    "decisions": ("--large", "100000"),
    "fairness": ("--data", "DATA"),
    "patterson": ("--seconds", "0.2", "--data", "DATA"),
    "psplib": ("--sets", "j30", "--schedules", "1,1000", "--data", "DATA"),
    "wfinstances": ("--every", "12", "--schedules", "100", "--data", "DATA"),
}


def main() -> None:
    """Run some or all, each in a process of its own, print their texts, and write them to a file.

    With names of benchmarks only those are run, and the sections of others stay as they are.
    """
    path = Path(__file__).parent / "RESULTS.md"
    parts = path.read_text(encoding="utf-8").split("\n## ") if path.exists() else []
    sections = {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts[1:]}
    for name in sys.argv[1:] or QUICK:
        if name not in QUICK:
            sys.exit(f"there is no quick benchmark `{name}`; there is {', '.join(QUICK)}")
        section = _section(name)
        if section is not None:
            sections[name] = section
    written = [sections[name] for name in QUICK if name in sections]
    path.write_text("\n".join([HEAD, *written]), encoding="utf-8")
    print(f"written to {path.relative_to(Path.cwd())}")


def _section(name: str) -> str | None:
    """What a benchmark says, as a part of the page; none if its data is not there."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--json"]
    command += [str(data_folder()) if option == "DATA" else option for option in QUICK[name]]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "skipped:" in done.stderr:
        print(f"{name}: {done.stderr}", flush=True)
        return None
    if done.returncode:
        sys.exit(f"benchmarks.{name} failed\n{done.stdout}{done.stderr}")
    figures = json.loads(done.stdout)
    text = import_module(f"benchmarks.{name}").show(figures)
    print(f"{text}\n", flush=True)
    machine = f"Python {figures['python']}, {figures['cpus']} CPUs"
    options = " ".join(["", *QUICK[name]]).replace(" --data DATA", "")
    return f"## {name}\n\n`python -m benchmarks.{name}{options}` on {machine}:\n\n```\n{text}\n```\n"


if __name__ == "__main__":
    main()
