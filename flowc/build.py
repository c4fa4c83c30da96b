"""`flowc compile`: from the name of a workflow to its plan file, or to the news that the file is current."""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import msgspec

from flowc import compiler, keeping, timing
from flowc.checks.committed import stale
from flowc.compiler import Draft
from flowc.incremental import Kept
from flowc.keeping import read_kept, write_kept
from flowc.lang import Workflow
from flowc.plan import codec, history, hosts_file
from flowc.plan.diagnostics import Diagnostic, Refused, print_diagnostics, refuse
from flowc.plan.history import Record
from flowc.plan.model import Plan
from flowc.show import changes, every_change, summary
from flowc.source import load
from flowc.static import given_static

_KEPT = Path(".flow") / "compiled"


class Request(msgspec.Struct, frozen=True):
    """What the command line asks for."""

    workflow: str
    output: Path | None = None
    check: bool = False
    static: Sequence[str] = ()
    history: Path | None = None
    devices: str = ""
    optimize: bool = True
    cache: bool = True
    strict: bool = False
    timings: bool = False
    time_limit: float = 0
    verbose: bool = False


def build(request: Request) -> None:
    """Compile a workflow, write or check its plan, and say so; `Refused` for whatever is wrong."""
    watch = timing.Stopwatch(time.perf_counter)
    with timing.time_limit(request.time_limit, watch):
        with watch.lap("import"):
            source = load(request.workflow)
        path = request.output or Path("plans") / f"{source.workflow.name}.plan.jsonl"
        committed = _committed(path) if request.check else None
        given = given_static(request.static, source.workflow.static, committed)
        known = _history(request.history, committed)
        target = hosts_file.read(request.devices) if request.devices else None
        options = compiler.Options(source.root, given, request.optimize, known, target)
        cache = _KEPT / f"{source.workflow.reference.replace(':', '.')}.cache"
        earlier = read_kept(cache) if request.cache else None
        try:
            draft, data, kept = compiled_bytes(source.workflow, options, watch, earlier)
        except compiler.Spoilt:
            _start_over(cache)
    _warn(draft.warnings, request.strict)
    if request.check:
        problem = stale(path, data, _command(request, given))
        if problem is not None:
            raise Refused(problem)
    else:
        with watch.lap("write"):
            write_plan(path, data)
    if earlier is not None and kept.keys() != earlier.keys():
        write_kept(cache, kept)
    found = changes(draft.simplified)
    print(f"{path}{' is current' if request.check else ''}: {summary(draft.plan)}{found}")
    if request.verbose and found:
        print(*every_change(draft.simplified), sep="\n")
    if request.timings:
        print(watch.table(), file=sys.stderr)


class Compiled(NamedTuple):
    """A compilation, its plan as it is written, and what to keep for the next one: nothing of a small plan.

    The draft's plan is without the nodes that did not have to be looked at.
    """

    draft: Draft
    data: bytes
    kept: Mapping[str, Kept]

    @property
    def plan(self) -> Plan:
        """The plan, as far as it was looked at."""
        return self.draft.plan


def compiled_bytes(
    workflow: Workflow[..., Any],
    options: compiler.Options,
    watch: timing.Stopwatch,
    known: Mapping[str, Kept] | None,
) -> Compiled:
    """Compile a workflow with what an earlier compilation kept: the same bytes as without, sooner."""
    draft = compiler.compiled(workflow, options, watch, known)
    assert draft.layout is not None
    with watch.lap("encode"):
        rows = keeping.encoded(draft.layout.items)
        data = codec.encode(draft.plan, keeping.flattened(rows))
    large = sum(level.nodes for level in draft.plan.levels) >= keeping.LEAST_NODES
    if draft.partitions is None or not large:
        return Compiled(draft, data, {})
    with watch.lap("keep"):
        return Compiled(draft, data, keeping.sum_up(draft.traced.trace, draft.partitions, draft.layout, rows))


def write_plan(path: Path, data: bytes) -> None:
    """Write a whole plan or none, and only over a plan; `Refused` (FC201) if that is not possible."""
    partial = path.parent / f".{path.name}.{os.getpid()}"
    try:
        if path.exists() and path.stat().st_size and not _begins(path, b'{"kind":"plan"'):
            hint = "name another file with -o"
            refuse("FC201", f"`{path}` is not a plan: it is not written over", hint=hint)
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_bytes(data)
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        refuse("FC201", f"cannot write the plan `{path}`: {error.strerror}")


def _begins(path: Path, head: bytes) -> bool:
    with path.open("rb") as file:
        return file.read(len(head)) == head


def _start_over(cache: Path) -> NoReturn:
    """Run this command again, in a new process and without what was kept."""
    arguments = sys.argv[1:]
    try:
        cache.unlink()
    except OSError:
        arguments.append("--no-cache")
    start = f"import sys; sys.path[:] = {sys.path!r}; from flowc.cli import main; main()"
    sys.stdout.flush()
    sys.exit(subprocess.run([sys.executable, "-P", "-c", start, *arguments], check=False).returncode)


def _command(request: Request, static: Mapping[str, object]) -> str:
    """The command that makes the plan current."""
    words = ["flowc compile", request.workflow]
    words += [f"-o {request.output}"] if request.output else []
    words += [f"--static {shlex.quote(f'{name}={value}')}" for name, value in static.items()]
    words += [f"--history {request.history}"] if request.history else []
    words += [] if request.optimize else ["--no-optimize"]
    return " ".join(words)


def _committed(path: Path) -> Plan | None:
    """The plan that is there, if it is one."""
    try:
        return codec.read(path)
    except Refused:  # no plan, or a broken one: the check is going to say so
        return None


def _history(given: Path | None, committed: Plan | None) -> tuple[Record, ...]:
    """What earlier runs took: from a file, or as a committed plan has it."""
    if given is not None:
        return history.read(given)
    return history.of_plan(committed) if committed is not None else ()


def _warn(warnings: Iterable[Diagnostic], strict: bool) -> None:
    """Print warnings, or refuse what they warn of."""
    found = tuple(warnings)
    if found and strict:
        raise Refused(*(msgspec.structs.replace(warning, severity="error") for warning in found))
    if found:
        print_diagnostics(found)
