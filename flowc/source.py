"""From `MODULE:WORKFLOW` or `PATH.py:WORKFLOW` to the workflow it names."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import traceback
from difflib import get_close_matches
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

import msgspec

from flowc.lang import Workflow
from flowc.plan.diagnostics import Place, Refused, refuse
from flowc.spans import display_path

_PACKAGE = str(Path(__file__).parent) + os.sep


class Source(msgspec.Struct, frozen=True):
    """A loaded workflow and the folder, relative to the project's, that its modules are imported from."""

    workflow: Workflow[..., Any]
    root: str


def load(reference: str) -> Source:
    """Load the workflow that a reference names, from the current folder or the import path.

    A file belongs to the module that its place among packages gives it, so that both spellings of a
    reference compile to the same plan. `Refused` (FC001 to FC005) says why there is none.
    """
    target, colon, name = reference.rpartition(":")
    if not colon or not target or not name.isidentifier():
        example = f"{reference}:main" if reference and not colon else "flows/churn.py:main"
        hint = f"for example `{example}`"
        refuse("FC001", f"`{reference}` is not MODULE:WORKFLOW or PATH.py:WORKFLOW", hint=hint)
    module, root = load_module(target)
    return Source(_pick(module, name, target), root)


def load_module(target: str) -> tuple[ModuleType, str]:
    """Import what `MODULE` or `PATH.py` names; also the folder, relative to the project's, to import it from.

    `Refused` (FC002, FC003, FC005) says why it cannot be imported.
    """
    if target.endswith(".py") or os.sep in target:
        root, module_name = place_file(target)
    else:
        root, module_name = ".", target
    folder = str(Path.cwd() / root)
    if folder not in sys.path[:1]:
        sys.path.insert(0, folder)
    return _load_module(module_name, Path(target) if target.endswith(".py") else None), root


def place_file(target: str) -> tuple[str, str]:
    """The import root, relative to the current folder, and the module name of a file.

    `Refused` (FC002, FC003, FC005) if the file is not there or cannot be a module of the project.
    """
    path = Path(target).resolve()
    here = Path.cwd().resolve()
    if not path.is_file():
        with_suffix = f"{target}.py" if Path(f"{target}.py").is_file() else ""
        near = with_suffix or _nearest(path)
        refuse("FC002", f"there is no file `{target}`", hint=f"did you mean `{near}`?" if near else "")
    if not path.is_relative_to(here):
        hint = "run flowc in the folder that holds the project"
        refuse(
            "FC005",
            f"`{target}` lies outside the current folder: a plan names files relative to it",
            hint=hint,
        )
    top = import_root(path, here)
    parts = path.relative_to(top).with_suffix("").parts
    if not all(re.fullmatch(r"[\w-]+", part) for part in parts):
        message = f"`{target}` cannot be imported: a module's name is made of letters, digits, `_` and `-`"
        refuse("FC003", message, hint="rename the file")
    return top.relative_to(here).as_posix(), ".".join(parts)


def import_root(path: Path, here: Path) -> Path:
    """The folder that a file is imported from: the first one upwards, at most `here`, that is no package."""
    top = path.parent
    while (top / "__init__.py").is_file() and top != here:
        top = top.parent
    return top


def own_place(error: BaseException) -> list[Place]:
    """The last line of an exception's traceback that the author can mend; none if there is no such line."""
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        # Outside Python, its import machinery, and us.
        if not frame.filename.startswith(("<", sys.base_prefix, _PACKAGE))
    ]
    return [Place(display_path(own[-1].filename), own[-1].lineno or 0)] if own else []


def _nearest(missing: Path) -> str:
    """The Python file beside a missing one that has nearly its name, relative to the current folder."""
    names = [path.name for path in missing.parent.glob("*.py")]
    close = get_close_matches(missing.name, names, 1)
    return os.path.relpath(missing.parent / close[0]) if close else ""


def _load_module(name: str, file: Path | None) -> ModuleType:
    try:
        found = importlib.util.find_spec(name) if all(name.split(".")) else None
    except Refused:
        raise
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if name != missing and not name.startswith(
            f"{missing}."
        ):  # something that a package on the way needs
            _does_not_import(name, error)
        found = None
    except (Exception, SystemExit) as error:  # a package on the way raised while it was imported
        _does_not_import(name, error)
    if found is None:
        near = _nearest(Path.cwd() / f"{name.replace('.', '/')}.py")
        hint = f"did you mean `{near}`?" if near else "it is not in the current folder, nor on Python's path"
        refuse("FC002", f"there is no module `{name}`", hint=hint)
    if file is not None and found.origin and Path(found.origin).resolve() != file.resolve():
        hint = "rename the file"
        refuse(
            "FC003",
            f"`{file}` cannot be imported as `{name}`: Python already has a module of that name",
            hint=hint,
        )
    try:
        return importlib.import_module(name)
    except Refused:
        raise
    except (Exception, SystemExit) as error:
        _does_not_import(name, error)


def _does_not_import(name: str, error: BaseException) -> NoReturn:
    if isinstance(error, SyntaxError) and error.filename and error.lineno:
        place = Place(display_path(error.filename), error.lineno, error.offset or 0, error.end_offset or 0)
        refuse("FC003", f"`{name}` does not import: {type(error).__name__}: {error.msg}", place)
    said = f"{type(error).__name__}: {error}".removesuffix(": ")
    refuse("FC003", f"`{name}` does not import: {said}", *own_place(error))


def _pick(module: ModuleType, name: str, target: str) -> Workflow[..., Any]:
    found = getattr(module, name, None)
    if isinstance(found, Workflow):
        return found
    known = sorted(key for key, value in vars(module).items() if isinstance(value, Workflow))
    if callable(found):
        place = (
            Place(display_path(found.__code__.co_filename), found.__code__.co_firstlineno)
            if hasattr(found, "__code__")
            else None
        )
        hint = f"put `@workflow` above `def {name}`" if place else ""
        refuse("FC004", f"`{name}` in `{target}` is not a workflow", *([place] if place else []), hint=hint)
    close = get_close_matches(name, known, 1)
    hint = f"did you mean `{target}:{close[0]}`?" if close else ""
    if known and not close:
        hint = f"it has {', '.join(f'`{target}:{other}`' for other in known)}"
    refuse("FC004", f"`{target}` has no workflow `{name}`", hint=hint)
