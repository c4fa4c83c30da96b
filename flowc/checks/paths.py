"""`flowc check`: find what is to be checked, check it, tell in the format that is asked for."""

from __future__ import annotations

import importlib
import linecache
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from flowc.checks.committed import Committed, committed_plan, orphan, source_of
from flowc.checks.discover import PLAN_SUFFIX, discover, shown
from flowc.checks.modules import Checked, Imported, Target, check_modules
from flowc.checks.reports import FORMATS
from flowc.checks.watch import watch
from flowc.plan.codec import read
from flowc.plan.diagnostics import Diagnostic, Refused
from flowc.source import place_file


class Outcome(msgspec.Struct, frozen=True):
    """Everything that was checked, in order of files, and the project's files that were imported for it."""

    checked: tuple[Checked, ...]
    imported: tuple[str, ...]

    @property
    def sound(self) -> bool:
        """Whether nothing was found but warnings."""
        return not any(checked.failed for checked in self.checked)


def check_paths(paths: Sequence[str], with_plans: bool = True, timeout_s: float = 60.0) -> Outcome:
    """Check every workflow and plan in files and folders below the current folder.

    `with_plans`: also compare workflows with the plans that are committed in `plans`. A module and each
    workflow may take `timeout_s`.
    """
    importlib.invalidate_caches()
    found = discover(paths)
    plans = _committed() if with_plans else {}
    checked = [Checked(_file_of(problem), diagnostics=(problem,)) for problem in found.problems]
    checked += [_check_plan(file, plans) for file in found.plans]
    of_source: dict[str, list[Committed]] = {}
    for plan, source in plans.values():
        of_source.setdefault(source, []).append(plan)
    by_root: dict[str, list[Target]] = {}
    for file in found.sources:
        try:
            root, _ = place_file(file)
        except Refused as refusal:
            checked.append(Checked(file, diagnostics=refusal.diagnostics))
        else:
            by_root.setdefault(root, []).append(Target(file, tuple(of_source.get(file, ()))))
    imported: set[str] = set()
    for targets in by_root.values():
        for message in check_modules(targets, timeout_s):
            match message:
                case Checked():
                    checked.append(message)
                case Imported(files):
                    imported |= set(files)
    return Outcome(_by_file(checked), tuple(sorted(imported)))


def run(
    paths: Sequence[str],
    output_format: str = "text",
    with_plans: bool = True,
    timeout_s: float = 60.0,
    again: bool = False,
    strict: bool = False,
) -> int:
    """Check, print what was found on standard output and return the exit status; with `again`, never end.

    `strict`: warnings are errors.
    """

    def check() -> Outcome:
        linecache.clearcache()
        outcome = check_paths(paths, with_plans, timeout_s)
        outcome = _taken_for_errors(outcome) if strict else outcome
        report = FORMATS[output_format](outcome.checked, linecache.getline, _folder())
        sys.stdout.flush()
        sys.stdout.buffer.write(report.encode(errors="backslashreplace"))
        sys.stdout.flush()
        return outcome

    if sys.stdout is None:  # closed by the caller, who wants the exit status only
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - until the end of the process
    try:
        if again:
            watch(lambda: check().imported, [*paths, "plans"] if with_plans else paths)
        return 0 if check().sound else 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever reads it has seen enough, and Python must not try to write the rest
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1


def _taken_for_errors(outcome: Outcome) -> Outcome:
    replace = msgspec.structs.replace
    checked = (
        replace(one, diagnostics=tuple(replace(found, severity="error") for found in one.diagnostics))
        for one in outcome.checked
    )
    return replace(outcome, checked=tuple(checked))


def _folder() -> str:
    """The current folder, relative to the one that GitHub takes paths to be relative to."""
    workspace = os.environ.get("GITHUB_WORKSPACE", "")
    here = Path.cwd()
    inside = workspace and here.is_relative_to(workspace)
    return here.relative_to(workspace).as_posix() if inside else "."


def _file_of(problem: Diagnostic) -> str:
    return problem.labels[0].place.file if problem.labels else ""


def _committed() -> dict[str, tuple[Committed, str]]:
    """The plans below `plans` by path, with the file of the module that each was compiled from, or ""."""
    here = Path.cwd().resolve()
    found = {}
    for path in sorted(Path("plans").rglob(f"*{PLAN_SUFFIX}")):
        file = shown(path, here)
        if plan := committed_plan(file):
            source = source_of(plan)
            found[file] = (plan, shown(source, here) if source else "")
    return found


def _check_plan(file: str, committed: Mapping[str, tuple[Committed, str]]) -> Checked:
    start = time.perf_counter()
    problems: tuple[Diagnostic, ...] = ()
    try:
        read(file)
    except Refused as refusal:
        problems = refusal.diagnostics
    match committed.get(file):
        case (plan, ""):
            message = f"`{file}` is the plan of `{plan.workflow}`, and there is no such module"
            problems += (orphan(file, message),)
        case _:
            pass
    return Checked(file, seconds=round(time.perf_counter() - start, 3), diagnostics=problems)


def _by_file(found: Iterable[Checked]) -> tuple[Checked, ...]:
    """In order, and one for each thing that was checked."""
    merged: dict[tuple[str, int, str], Checked] = {}
    for checked in found:
        key = (checked.file, checked.line, checked.workflow)
        if earlier := merged.get(key):
            seconds, problems = earlier.seconds + checked.seconds, earlier.diagnostics + checked.diagnostics
            checked = msgspec.structs.replace(checked, seconds=seconds, diagnostics=problems)
        merged[key] = checked
    return tuple(merged[key] for key in sorted(merged))
