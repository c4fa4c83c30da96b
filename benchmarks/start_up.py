"""How long `flowc`, `flowrun` and `flowserve --help` take, beside Python with a two-command typer app."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import harness

TYPER_APP = """
import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False)


@app.command()
def one(x: int = 1) -> None:
    pass


@app.command()
def two(x: int = 1) -> None:
    pass


app()
"""


def measure(repeats: int) -> dict[str, Any]:
    """Time `--help`, whole processes."""
    harness.byte_compile()
    bin_folder = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "app.py").write_text(TYPER_APP)
        commands = {
            "typer_app": [sys.executable, "app.py", "--help"],
            **{name: [str(bin_folder / name), "--help"] for name in ("flowc", "flowrun", "flowserve")},
        }
        sides = {
            name: lambda command=command: harness.wall_ms(command, folder)
            for name, command in commands.items()
        }
        figures = harness.alternate(sides, repeats)
    spreads = {f"{name}_ms": harness.spread(values) for name, values in figures.items()}
    return {"benchmark": "start_up", **spreads, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    base = figures["typer_app_ms"]["median"]
    rows = [
        f"{name[:-3]:<12}{values['median']:>6.0f} ms  {values['median'] / base:.2f} x"
        for name, values in figures.items()
        if name.endswith("_ms")
    ]
    return "\n".join(["--help, whole process, median", *rows])


if __name__ == "__main__":
    harness.run(measure, show, repeats=15)
