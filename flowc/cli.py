"""The `flowc` command."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

from flowc.plan.command import App, argument

app = App("flowc", "Compile workflows written in Python into typed plan files.")


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
        _demand_current(path, encode(plan), f"flowc compile {workflow}" + (f" -o {output}" if output else ""))
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


@app.command(argument("--json", dest="as_json", action="store_true", help="as JSON"))
def types(as_json: bool) -> None:
    """List the types that inputs and operators can have, those of installed packages too."""
    from flowc.catalogue import rows, table

    print(_json(rows()) if as_json else table())


@app.command(argument("plan", metavar="PLAN", help="a plan file, or MODULE:WORKFLOW or PATH.py:WORKFLOW"))
def schema(plan: str) -> None:
    """Print the JSON Schema of a workflow's inputs."""
    from flowc.plan.schema import inputs_schema

    if ":" not in plan or Path(plan).is_file():
        from flowc.plan.codec import read

        found = read(plan)
    else:
        from flowc.compiler import compile_workflow
        from flowc.source import load

        source = load(plan)
        found = compile_workflow(source.workflow, source.root)
    print(_json(inputs_schema(found)))


@app.command(argument("code", metavar="CODE", help="for example FC101"))
def explain(code: str) -> None:
    """Explain a diagnostic code, with an example and its mend."""
    import difflib

    from flowc.plan.codes import CODES

    if code.upper() not in CODES:
        close = difflib.get_close_matches(code.upper(), CODES, 3)
        hint = f"did you mean {' or '.join(close)}?" if close else "docs/errors/README.md lists them"
        print(f"there is no code `{code}`; {hint}", file=sys.stderr)
        sys.exit(2)
    package = Path(__file__).parent
    # Installed, the pages lie in the package; in a checkout, where people read them.
    for folder in (package / "errors", package.parent / "docs" / "errors"):
        page = folder / f"{code.upper()}.md"
        if page.is_file():
            print(page.read_text(encoding="utf-8").rstrip())
            return
    print(CODES[code.upper()])


def _json(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False)


def _demand_current(path: Path, compiled: bytes, command: str) -> None:
    """Refuse (FC209), with a diff, unless the file holds exactly the compiled plan."""
    import difflib

    from flowc.plan.diagnostics import refuse

    hint = f"`{command}` and commit the plan"
    committed = path.read_bytes() if path.is_file() else None
    if committed == compiled:
        return
    if committed is None:
        refuse("FC209", f"there is no plan `{path}` to check", hint=hint)
    old, new = (data.decode("utf-8", "replace").splitlines() for data in (committed, compiled))
    diff = list(difflib.unified_diff(old, new, f"{path} (committed)", f"{path} (source)", lineterm="", n=0))
    shown = [_shortened(line, diff) for line in diff[:40]]
    if len(diff) > len(shown):
        shown.append(f"... {len(diff) - len(shown)} more lines")
    refuse("FC209", f"`{path}` does not match its source", notes=shown, hint=hint)


def _shortened(line: str, diff: list[str]) -> str:
    """A line of a diff; of a long row its head, and the place where it differs from the other side's."""
    if len(line) <= 200:
        return line
    others = (other for other in diff if other[0] != line[0] and other[1:40] == line[1:40])
    same = max((_common(line[1:], other[1:]) for other in others), default=0)
    if same < 160:
        return f"{line[:200]}..."
    return f"{line[:80]} ... {line[same - 20 : same + 100]}" + ("..." if len(line) > same + 100 else "")


def _common(one: str, other: str) -> int:
    """How many characters are the same from the start."""
    return next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), len(one))


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
