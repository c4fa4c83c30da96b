"""Which files in a project are to be checked: modules that define workflows, and plans.

To check a workflow is to import its module, which runs it. So files are picked by their text and syntax
alone; a module without a workflow is never run.
"""

from __future__ import annotations

import ast
import os
import re
import subprocess
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place
from flowc.source import import_root

PLAN_SUFFIX = ".plan.jsonl"

# Folders that hold other people's code, besides hidden ones, virtual environments and what git ignores.
_FOREIGN = {"__pycache__", "__pypackages__", "site-packages", "node_modules"}
_SPEAKS_OF_FLOWC = re.compile(rb"^\s*(from|import)\s+flowc\b", re.MULTILINE)


class Found(msgspec.Struct, frozen=True):
    """Files by their paths relative to the current folder, sorted, and what was wrong with where to look."""

    sources: tuple[str, ...]
    plans: tuple[str, ...]
    problems: tuple[Diagnostic, ...]


def discover(paths: Iterable[str]) -> Found:
    """The files with workflows and the plans in some files and folders; FC005 and FC220 for other paths."""
    here = Path.cwd().resolve()
    problems: list[Diagnostic] = []
    named: set[str] = set()
    walked: set[str] = set()
    for text in paths:
        path = Path(text)
        if problem := _unusable(text, path.resolve(), here):
            problems.append(problem)
        elif path.is_dir():
            files = files_below(path, problems.append)
            # A link out of the project leads to somebody else's file.
            walked |= {shown(file, here) for file in files if file.resolve().is_relative_to(here)}
        else:
            named.add(shown(path, here))
    plans = {file for file in named | walked if file.endswith(PLAN_SUFFIX)}
    sources = {file for file in (named | walked) - plans if _has_workflow(file, here, problems.append)}
    ignored = _ignored_by_git(sorted((sources | plans) - named))
    return Found(tuple(sorted(sources - ignored)), tuple(sorted(plans - ignored)), tuple(problems))


def files_below(folder: Path, report: Callable[[Diagnostic], None] = lambda _: None) -> Iterator[Path]:
    """The Python files and plans of a folder that are the project's own."""

    def unreadable(error: OSError) -> None:
        report(_unread(os.path.relpath(error.filename), error))

    for path, folders, files in os.walk(folder, onerror=unreadable):
        if "pyvenv.cfg" in files and Path(path) != folder:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".") and name not in _FOREIGN]
        for name in files:
            file = Path(path, name)
            if name.endswith((".py", PLAN_SUFFIX)) and not name.startswith(".") and file.is_file():
                yield file


def shown(path: Path, here: Path) -> str:
    """A file as it is called everywhere: its real path, relative to the current folder if it lies in that."""
    real = path.resolve()
    return real.relative_to(here).as_posix() if real.is_relative_to(here) else str(path)


def defines_workflow(source: bytes, is_ours: Callable[[str], bool] = lambda _: False) -> bool:
    """Whether a module uses flowc's `workflow`, whatever it calls it.

    `is_ours(module)` tells whether a top-level module is the project's own: from there, `workflow` may be
    flowc's, passed on. Of a file that is no Python nothing but its mention of flowc can be told.
    """
    if b"workflow" not in source:
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of doubtful escapes in files that may not be looked at further
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return _SPEAKS_OF_FLOWC.search(source) is not None
    names: set[str] = set()  # what `workflow` is called here
    holders: set[str] = set()  # what it may be an attribute of
    nodes = list(ast.walk(tree))
    for node in nodes:
        match node:
            case ast.Import(names=aliases):
                ours = [a for a in aliases if _may_have(a.name, is_ours)]
                holders |= {name for a in ours for name in (a.asname or a.name, a.asname or _top(a.name))}
            case ast.ImportFrom(module=module, names=aliases, level=level):
                if level or _may_have(module or "", is_ours):
                    names |= {a.asname or a.name for a in aliases if a.name == "workflow"}
                    names |= {"workflow" for a in aliases if a.name == "*"}
                    holders |= {a.asname or a.name for a in aliases if a.name not in ("workflow", "*")}
    return any(_stands_for_workflow(node, names, holders) for node in nodes)


def _stands_for_workflow(node: ast.AST, names: set[str], holders: set[str]) -> bool:
    match node:
        case ast.Name(id=name, ctx=ast.Load()):
            return name in names
        case ast.Attribute(value=ast.Name() | ast.Attribute() as holder, attr="workflow"):
            return ast.unparse(holder) in holders
        case _:
            return False


def _may_have(module: str, is_ours: Callable[[str], bool]) -> bool:
    return _top(module) == "flowc" or is_ours(_top(module))


def _top(module: str) -> str:
    return module.partition(".")[0]


def _has_workflow(file: str, here: Path, report: Callable[[Diagnostic], None]) -> bool:
    path = here / file
    root = import_root(path, here)

    def is_ours(module: str) -> bool:
        return (root / module).is_dir() or (root / f"{module}.py").is_file()

    try:
        return defines_workflow(path.read_bytes(), is_ours)
    except OSError as error:
        report(_unread(file, error))
        return False


def _unusable(text: str, real: Path, here: Path) -> Diagnostic | None:
    """Why a path that was given cannot be looked at."""
    is_source = real.is_dir() or text.endswith(".py")
    if not real.exists():
        return Diagnostic("FC220", f"there is no file or folder `{text}`")
    if not real.is_dir() and not (real.is_file() and text.endswith((".py", PLAN_SUFFIX))):
        hint = f"name folders, .py files and {PLAN_SUFFIX} files"
        return Diagnostic("FC220", f"`{text}` is neither Python nor a plan", hint=hint)
    if is_source and not real.is_relative_to(here):
        hint = "run flowc in the folder that holds the project"
        message = f"`{text}` lies outside the current folder: a plan names files relative to it"
        return Diagnostic("FC005", message, hint=hint)
    return None


def _unread(file: str, error: OSError) -> Diagnostic:
    return Diagnostic("FC220", f"cannot read `{file}`: {error.strerror}", (Label(Place(file)),))


def _ignored_by_git(files: list[str]) -> set[str]:
    """Those of some files that git is told to ignore; none where there is no git or no repository."""
    if not files:
        return set()
    command = ["git", "check-ignore", "-z", "--stdin"]
    given = b"\0".join(os.fsencode(file) for file in files)
    try:
        done = subprocess.run(command, input=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return set()
    return {os.fsdecode(file) for file in done.stdout.split(b"\0") if file}
