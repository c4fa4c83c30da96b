"""The modules that operators' code lies in: where their files are, and what their top levels bind.

Nothing is imported for it: what is loaded is found in `sys.modules`, what is not by its path. Of modules
that belong to somebody else only the name is of interest.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from flowc.code.uses import Imported, bound_by, imported_by

# One distribution, whether it is installed or run from a checkout: its version stands for its code.
TOOLCHAIN = {"flowc", "flowrun", "flowserve"}
_INSTALLED = ("site-packages", "dist-packages")


class Piece(NamedTuple):
    """A statement that binds or changes a name, and the conditions that it stands under."""

    statement: ast.stmt
    conditions: tuple[ast.AST, ...] = ()


class Module:
    """A parsed module. `bindings` has for each name at its top level, in order, what binds or changes it."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self.package = name if path.stem == "__init__" else name.rpartition(".")[0]
        self.tree = _parse(path)
        self.bindings: dict[str, list[Piece | Imported]] = {}
        self.stars: list[Imported] = []
        changes: list[tuple[set[str], Piece]] = []
        self._bind(self.tree.body, (), changes)
        for names, piece in changes:
            for name in names & self.bindings.keys():
                bound = self.bindings[name]
                # What an import binds is changed by `sys.path.append(...)`, too, but is not this module's.
                if piece not in bound and any(isinstance(binding, Piece) for binding in bound):
                    bound.append(piece)

    def absolute(self, imported: Imported) -> Imported:
        """An import of this module without the dots at its start."""
        if not imported.level:
            return imported
        above = self.package.split(".")[: len(self.package.split(".")) - imported.level + 1]
        return Imported(".".join([*above, *([imported.module] if imported.module else [])]), imported.name)

    def reads(self, name: str) -> bool:
        """Whether its code depends on another module's source: that of its own package, or of the project's.

        Otherwise on the version of what is installed.
        """
        if name.partition(".")[0] == self.name.partition(".")[0]:
            return True
        path = locate(name) if is_own(name) else None
        return is_own(name) and (path is None or _is_own(str(path)))

    def _bind(
        self,
        body: Iterable[ast.stmt],
        conditions: tuple[ast.AST, ...],
        changes: list[tuple[set[str], Piece]],
    ) -> None:
        for statement in body:
            match statement:
                case ast.Import() | ast.ImportFrom():
                    for name, imported in imported_by(statement):
                        if name == "*":
                            self.stars.append(self.absolute(imported))
                        else:
                            self.bindings.setdefault(name, []).append(self.absolute(imported))
                case ast.If(test=test, body=inner, orelse=otherwise):
                    if not _is_main(test):
                        self._bind(inner, (*conditions, test), changes)
                    self._bind(otherwise, (*conditions, ast.UnaryOp(ast.Not(), test)), changes)
                case ast.Try() | ast.TryStar():
                    caught = [handler.type for handler in statement.handlers if handler.type]
                    self._bind(statement.body, conditions, changes)
                    for handler in statement.handlers:
                        self._bind(handler.body, (*conditions, *caught), changes)
                    self._bind([*statement.orelse, *statement.finalbody], conditions, changes)
                case ast.With(items=items, body=inner) if not any(item.optional_vars for item in items):
                    entered = (item.context_expr for item in items)
                    self._bind(inner, (*conditions, *entered), changes)
                case _:
                    piece = Piece(statement, conditions)
                    bound, changed = bound_by(statement)
                    for name in bound:
                        self.bindings.setdefault(name, []).append(piece)
                    changes.append((changed - bound, piece))


@functools.cache
def module_of(name: str) -> Module | None:
    """The module of that name, parsed; nothing if it has no Python source."""
    path = locate(name)
    return module_at(name, path) if path is not None else None


@functools.cache
def module_at(name: str, path: Path) -> Module | None:
    """The module of that name in a file; nothing if that cannot be read."""
    try:
        return Module(name, path)
    except (OSError, SyntaxError, ValueError):
        return None


@functools.cache
def locate(name: str) -> Path | None:
    """The source file of a module, found without importing it; nothing for a folder or compiled code."""
    loaded = getattr(sys.modules.get(name), "__file__", None)
    if loaded is not None:
        return Path(loaded) if loaded.endswith(".py") else None
    top, _, rest = name.partition(".")
    file, folders = _find_top(top)
    if not rest:
        return Path(file) if file.endswith(".py") else None
    *parents, last = rest.split(".")
    for folder in folders:
        base = Path(folder, *parents)
        for path in (base / last / "__init__.py", base / f"{last}.py"):
            if path.is_file():
                return path
    return None


@functools.cache
def exists(name: str) -> bool:
    """Whether there is a module of that name, or a folder of modules."""
    if locate(name) is not None or name in sys.modules:
        return True
    top, _, rest = name.partition(".")
    return any(Path(folder, *rest.split(".")).is_dir() for folder in _find_top(top)[1])


@functools.cache
def is_own(name: str) -> bool:
    """Whether a module belongs to the project: not to Python, nor to the toolchain, nor to what is installed.

    A project is what its folder holds, and what is imported from other folders of sources.
    """
    top = name.partition(".")[0]
    if top in sys.stdlib_module_names or top in TOOLCHAIN:
        return False
    file, folders = _find_top(top)
    return any(map(_is_own, [file] if file else folders))


def forget() -> None:
    """Forget every module: files are read anew, as a new process would."""
    for function in (module_of, module_at, locate, exists, is_own, _find_top):
        function.cache_clear()


@functools.cache
def _find_top(top: str) -> tuple[str, tuple[str, ...]]:
    """The file of a module that is in no package, if it has one, and the folders of its submodules."""
    module = sys.modules.get(top)
    if module is not None:
        return getattr(module, "__file__", None) or "", tuple(getattr(module, "__path__", ()))
    import importlib.util  # costs a moment, and is not needed while everything is loaded

    try:
        found = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        found = None
    if found is None:
        return "", ()
    file = found.origin if found.has_location else None
    return file or "", tuple(found.submodule_search_locations or ())


def _is_own(path: str) -> bool:
    return not any(f"{os.sep}{folder}{os.sep}" in path for folder in _INSTALLED)


def _parse(path: Path) -> ast.Module:
    return ast.parse(path.read_bytes(), str(path))


def _is_main(test: ast.expr) -> bool:
    """Whether a condition is `__name__ == "__main__"`: what stands under it is not run by an import."""
    names = [part.id for part in ast.walk(test) if isinstance(part, ast.Name)]
    return isinstance(test, ast.Compare) and names == ["__name__"]
