"""The `flowc` command."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import Any, NoReturn

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
    argument(
        "--static",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="fix a static input; with --check, those of the committed plan hold unless given",
    ),
    argument("--no-cache", action="store_true", help="compile from scratch, also what has not changed since"),
)
def compile(workflow: str, output: Path | None, check: bool, static: list[str], no_cache: bool) -> None:  # noqa: A001 - the command's name
    """Compile a workflow to plans/WORKFLOW.plan.jsonl."""
    from flowc.compiler import Spoilt, compile_again
    from flowc.keeping import read_kept, write_kept
    from flowc.show import summary
    from flowc.source import load

    source = load(workflow)
    path = output or Path("plans") / f"{source.workflow.name}.plan.jsonl"
    given = _static_inputs(static, path if check else None)
    cache = Path(".flow") / "compiled" / f"{source.workflow.reference.replace(':', '.')}.cache"
    known = {} if no_cache else read_kept(cache)
    try:
        compiled = compile_again(source.workflow, source.root, given, known)
    except Spoilt:
        _start_over(cache)
    if check:
        options = [f" -o {output}"] if output else []
        options += [f" --static {name}={value}" for name, value in given.items()]
        _demand_current(path, compiled.data, f"flowc compile {workflow}{''.join(options)}")
        print(f"{path} is current: {summary(compiled.plan)}")
    else:
        _write(path, compiled.data)
        print(f"{path}: {summary(compiled.plan)}")
    if not no_cache and compiled.kept.keys() != known.keys():
        write_kept(cache, compiled.kept)


@app.command(argument("plan", type=Path, metavar="PLAN", help="a plan file"))
def show(plan: Path) -> None:
    """Print a plan's levels, what runs side by side, and its longest path."""
    from flowc.plan.codec import read
    from flowc.show import show as text_of

    print(text_of(read(plan)))


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


def _start_over(cache: Path) -> NoReturn:
    """Run this command again, in a new process and without what was kept."""
    import subprocess

    arguments = sys.argv[1:]
    try:
        cache.unlink()
    except OSError:
        arguments.append("--no-cache")
    start = f"import sys; sys.path[:] = {sys.path!r}; from flowc.cli import main; main()"
    sys.stdout.flush()
    sys.exit(subprocess.run([sys.executable, "-P", "-c", start, *arguments], check=False).returncode)


def _static_inputs(given: list[str], committed: Path | None) -> dict[str, Any]:
    """Static inputs as they are given, and those that a committed plan was compiled with."""
    import contextlib

    from flowc.plan.codec import read
    from flowc.plan.diagnostics import Refused, refuse

    found: dict[str, Any] = {}
    if committed is not None:
        with contextlib.suppress(Refused):  # no plan, or a broken one: the check is going to say so
            found = dict(read(committed).header.static)
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            refuse("FC025", f"`--static {text}` is not NAME=VALUE", hint=f"for example `--static {text}=5`")
        found[name.strip()] = value
    return found


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


def _begins(path: Path, head: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _write(path: Path, data: bytes) -> None:
    """Write a whole plan or none, and only over a plan."""
    import contextlib

    from flowc.plan.diagnostics import refuse

    partial = path.parent / f".{path.name}.{os.getpid()}"
    try:
        if path.exists() and path.stat().st_size and not _begins(path, b'{"kind":"plan"'):
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
