"""The `flowc` command."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from flowc.plan.command import App, argument

# Those of `flowc.reports.FORMATS`, which a start of the command does not load.
OUTPUT_FORMATS = ("text", "json", "github", "sarif", "junit")

app = App("flowc", "Compile workflows written in Python into typed plan files.")


def seconds(text: str) -> float:
    """A time limit on the command line."""
    given = float(text)
    if not 0 < given < 1e6:
        raise ValueError
    return given


def main() -> None:
    """Entry point."""
    # A plan is made of many objects that all stay; looking among them for garbage takes a fifth of the time.
    gc.disable()
    app()


@app.command(
    argument("workflow", metavar="WORKFLOW", help="MODULE:WORKFLOW or PATH.py:WORKFLOW"),
    argument("-o", "--output", type=Path, metavar="FILE", help="where to write the plan"),
    argument("--check", action="store_true", help="write nothing; fail if the plan is out of date"),
)
def compile(workflow: str, output: Path | None, check: bool) -> None:  # noqa: A001 - the command's name
    """Compile a workflow to plans/WORKFLOW.plan.jsonl."""
    from flowc.compiler import compile_workflow
    from flowc.plan.codec import encode
    from flowc.show import summary
    from flowc.source import load

    source = load(workflow)
    plan = compile_workflow(source.workflow, source.root)
    path = output or Path("plans") / f"{plan.header.name}.plan.jsonl"
    if check:
        from flowc.committed import stale
        from flowc.plan.diagnostics import Refused

        command = f"flowc compile {workflow}" + (f" -o {output}" if output else "")
        if problem := stale(path, encode(plan), command):
            raise Refused(problem)
        print(f"{path} is current: {summary(plan)}")
    else:
        _write(path, encode(plan))
        print(f"{path}: {summary(plan)}")


@app.command(argument("plan", type=Path, metavar="PLAN", help="a plan file"))
def show(plan: Path) -> None:
    """Print a plan's levels, what runs side by side, and its longest path."""
    from flowc.plan.codec import read
    from flowc.show import show as text_of

    print(text_of(read(plan)))


@app.command(
    argument("paths", nargs="*", default=["."], metavar="PATH", help="files and folders (default: .)"),
    argument("--output-format", choices=OUTPUT_FORMATS, default="text", help="default: text"),
    argument("--no-plans", dest="with_plans", action="store_false", help="do not compare with plans/"),
    argument(
        "--timeout",
        dest="timeout_s",
        type=seconds,
        default=60.0,
        metavar="SECONDS",
        help="how long a module or a workflow may take (default: 60)",
    ),
    argument("--watch", action="store_true", help="check again whenever a file changes, until Ctrl-C"),
)
def check(paths: list[str], output_format: str, with_plans: bool, timeout_s: float, watch: bool) -> None:
    """Find and check every workflow and plan in files and folders.

    Exits: 0 if nothing is wrong, 1 if something is, 2 for wrong usage, 130 when it is cancelled.
    """
    from flowc.check_paths import run

    sys.exit(run(paths, output_format, with_plans, timeout_s, watch))


@app.command(
    argument("code", nargs="?", metavar="CODE", help="for example FC101; without it, all are listed")
)
def explain(code: str | None) -> None:
    """Explain a diagnostic code, with an example and its mend."""
    from flowc.explain import explanation, listing, similar

    if code is None:
        print(listing())
    elif text := explanation(code):
        print(text)
    else:
        print(f"there is no code `{code}`; {similar(code)}", file=sys.stderr)
        sys.exit(2)


def _write(path: Path, data: bytes) -> None:
    """Write a whole plan or none, and only over a plan."""
    import contextlib

    from flowc.plan.diagnostics import refuse

    partial = path.parent / f".{path.name}.{os.getpid()}"
    try:
        if path.exists() and path.stat().st_size and not path.read_bytes().startswith(b'{"kind":"plan"'):
            refuse(
                "FC201", f"`{path}` is not a plan: it is not written over", hint="name another file with -o"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        refuse("FC201", f"cannot write the plan `{path}`: {error.strerror}")
