"""Plans that are committed beside their source: which workflow each is of, and whether it is current."""

from __future__ import annotations

import difflib
import importlib.util
import sys
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place
from flowc.plan.model import Header

_MOST_LINES = 40  # of a diff
_header = msgspec.json.Decoder(Header)


class Committed(msgspec.Struct, frozen=True):
    """A plan file, and the workflow that its header names: a function of a module below `root`.

    `static` are the inputs that were fixed when it was compiled.
    """

    path: str
    root: str
    workflow: str
    static: dict[str, Any] = {}

    @property
    def name(self) -> str:
        """The workflow's bare name."""
        return self.workflow.rpartition(":")[2]


def committed_plan(path: str) -> Committed | None:
    """What a plan file says that it is of; `None` if its first row does not tell."""
    try:
        with open(path, "rb") as file:
            header = _header.decode(file.readline())
    except (OSError, ValueError, RecursionError):
        return None
    root = Path(header.root)
    return (
        None
        if root.is_absolute() or ".." in root.parts
        else Committed(path, header.root, header.workflow, header.static)
    )


def source_of(plan: Committed) -> Path | None:
    """The file of the module that a plan was compiled from, found as Python would, without importing it.

    `None` if there is no such module.
    """
    top, *inner = plan.workflow.partition(":")[0].split(".")
    spec = _find(top, str(Path.cwd() / plan.root))
    if spec is None:
        return None
    if not inner:
        return Path(spec.origin) if spec.origin else None
    for folder in spec.submodule_search_locations or ():
        path = Path(folder, *inner)
        for file in (path.with_name(f"{path.name}.py"), path / "__init__.py"):
            if file.is_file():
                return file
    return None


def orphan(path: str, message: str) -> Diagnostic:
    """FC221: a plan without source."""
    hint = "delete the plan, or bring back what it was compiled from"
    return Diagnostic("FC221", message, (Label(Place(path, 1)),), hint=hint)


def stale(path: Path, compiled: bytes, command: str, *at: Place) -> Diagnostic | None:
    """FC209, with a diff, unless the file holds exactly the compiled plan, which `command` writes.

    But for the rows that tell which packages were installed: these may differ from host to host.
    """
    committed = path.read_bytes() if path.is_file() else None
    if committed is not None and _without_versions(committed) == _without_versions(compiled):
        return None
    hint = f"`{command}` and commit the plan"
    labels = tuple(Label(place) for place in at)
    if committed is None:
        return Diagnostic("FC209", f"there is no plan `{path}` to check", labels, hint=hint)
    sides = (b"".join(_without_versions(plan)) for plan in (committed, compiled))
    old, new = (data.decode("utf-8", "replace").splitlines() for data in sides)
    diff = list(difflib.unified_diff(old, new, f"{path} (committed)", f"{path} (source)", lineterm="", n=0))
    shown = [_shortened(line, diff) for line in diff[:_MOST_LINES]]
    if len(diff) > len(shown):
        shown.append(f"... {len(diff) - len(shown)} more lines")
    return Diagnostic("FC209", f"`{path}` does not match its source", labels, tuple(shown), hint)


def _without_versions(plan: bytes) -> list[bytes]:
    return [row for row in plan.splitlines(True) if not row.startswith(b'{"kind":"package",')]


def _find(top: str, root: str) -> ModuleSpec | None:
    try:
        return PathFinder.find_spec(top, [root, *sys.path]) or importlib.util.find_spec(top)
    except (ImportError, ValueError):  # `__main__`, or a name that nothing can have
        return None


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
