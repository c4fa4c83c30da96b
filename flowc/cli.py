"""The `flowc` command."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowc.plan.command import App, argument

if TYPE_CHECKING:
    from flowc.plan.diagnostics import Diagnostic
    from flowc.plan.history import Record
    from flowc.plan.model import Plan

app = App("flowc", "Compile workflows written in Python into typed plan files.")


def main() -> None:
    """Entry point."""
    # A plan is made of many objects that all stay; looking among them for garbage takes a fifth of the time.
    gc.disable()
    app()


def _seconds(text: str) -> float:
    """A time limit; `ValueError` makes the command line a wrong one."""
    seconds = float(text)
    if not 0 < seconds < 1e9:
        raise ValueError
    return seconds


_seconds.__name__ = "number of seconds"  # as argparse calls it


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
    argument(
        "--history",
        type=Path,
        metavar="FILE",
        help="times of earlier runs (`flowrun history -o FILE`); with --check, as in the plan unless given",
    ),
    argument(
        "--devices", type=Path, metavar="FILE", help="refuse what the host of a TOML file could never run"
    ),
    argument("--no-optimize", dest="optimize", action="store_false", help="leave every call in the plan"),
    argument("--strict", action="store_true", help="take warnings for errors"),
    argument("--timings", action="store_true", help="print how long each pass took"),
    argument(
        "--time-limit",
        type=_seconds,
        default=0,
        metavar="SECONDS",
        help="give up after so long, and say where",
    ),
    argument("-v", "--verbose", action="store_true", help="tell each node that was simplified away"),
)
def compile(  # noqa: A001 - the command's name
    workflow: str,
    output: Path | None,
    check: bool,
    static: list[str],
    history: Path | None,
    devices: Path | None,
    optimize: bool,
    strict: bool,
    timings: bool,
    time_limit: float,
    verbose: bool,
) -> None:
    """Compile a workflow to plans/WORKFLOW.plan.jsonl."""
    import time

    from flowc import compiler, timing
    from flowc.plan import host
    from flowc.plan.codec import encode
    from flowc.show import changes, every_change, summary
    from flowc.source import load

    watch = timing.Stopwatch(time.perf_counter)
    with timing.time_limit(time_limit, watch):
        with watch.lap("import"):
            source = load(workflow)
        path = output or Path("plans") / f"{source.workflow.name}.plan.jsonl"
        committed = _committed(path) if check else None
        given = _static_inputs(static, committed)
        known = _history(history, committed)
        target = host.read(devices) if devices else None
        options = compiler.Options(source.root, given, optimize, known, target)
        draft = compiler.compiled(source.workflow, options, watch)
        with watch.lap("encode"):
            data = encode(draft.plan)
    _warn(draft.warnings, strict)
    if check:
        words = [f" -o {output}"] if output else []
        words += [f" --static {name}={value}" for name, value in given.items()]
        words += [f" --history {history}"] if history else []
        words += [] if optimize else [" --no-optimize"]
        _demand_current(path, data, f"flowc compile {workflow}{''.join(words)}")
    else:
        with watch.lap("write"):
            _write(path, data)
    print(f"{path}{' is current' if check else ''}: {summary(draft.plan)}{changes(draft.simplified)}")
    if verbose:
        print(*every_change(draft.simplified), sep="\n", end="\n" if changes(draft.simplified) else "")
    if timings:
        print(watch.table(), file=sys.stderr)


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


def _committed(path: Path) -> Plan | None:
    """The plan that is there, if it is one."""
    from flowc.plan.codec import read
    from flowc.plan.diagnostics import Refused

    try:
        return read(path)
    except Refused:  # no plan, or a broken one: the check is going to say so
        return None


def _static_inputs(given: list[str], committed: Plan | None) -> dict[str, Any]:
    """Static inputs as they are given, and those that a committed plan was compiled with."""
    from flowc.plan.diagnostics import refuse

    found: dict[str, Any] = dict(committed.header.static) if committed is not None else {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            refuse("FC025", f"`--static {text}` is not NAME=VALUE", hint=f"for example `--static {text}=5`")
        found[name.strip()] = value
    return found


def _history(given: Path | None, committed: Plan | None) -> tuple[Record, ...]:
    """What earlier runs took: from a file, or as a committed plan has it."""
    from flowc.plan import history

    if given is not None:
        return history.read(given)
    return history.of_plan(committed) if committed is not None else ()


def _warn(warnings: Iterable[Diagnostic], strict: bool) -> None:
    """Print warnings, or refuse what they warn of."""
    from msgspec.structs import replace

    from flowc.plan.diagnostics import Refused, print_diagnostics

    found = tuple(warnings)
    if found and strict:
        raise Refused(*(replace(warning, severity="error") for warning in found))
    if found:
        print_diagnostics(found)


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
