"""What an operator's code is: a hash that changes when its results may, and what that hash is made of.

An operator depends on the functions, classes and constants that it reaches in code of its own project, from
definition to definition. Each of these is a **unit**, hashed by its syntax tree and by what its imports bind
its names to. Of installed packages only the name is noted: their versions stand for their code. All of it is
read from source files, never from running modules, so that every process, machine and folder finds the same.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import copy
import enum
import functools
import inspect
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from flowc.code import modules
from flowc.code.modules import Module, Piece, exists, module_at, module_of
from flowc.code.syntax import text_of
from flowc.code.uses import Imported, Uses, chain_of, uses_of
from flowc.plan.lean import sha256
from flowc.plan.parts import combined

_Function = ast.FunctionDef | ast.AsyncFunctionDef
Target = tuple[str, str] | Imported  # a unit, as (module, name), or what is not looked into


class Code(NamedTuple):
    """The code of an operator: the hash of all, of each part by name, and the packages that it imports."""

    hash: str
    parts: dict[str, str]
    packages: tuple[str, ...]


class Unit(NamedTuple):
    """A definition: the hash of itself, what it refers to as (module, name), and the packages it imports."""

    hash: str
    uses: frozenset[tuple[str, str]]
    packages: frozenset[str]


@functools.lru_cache(maxsize=4096)
def code_of(fn: Callable[..., Any]) -> Code:
    """The code of an operator's function.

    Parts are `module:name` for what it reaches, itself included, a whole `module` where that is used as a
    value, `default NAME` for its defaults and, of a function made by another, `closure NAME`.
    """
    reference = (fn.__module__, fn.__qualname__)
    own, parts = _own(fn)
    packages = set(own.packages)
    left, seen = sorted(own.uses), {reference}
    while left:
        at = left.pop()
        if at not in seen:
            seen.add(at)
            unit = unit_of(*at)
            parts[":".join(filter(None, at))] = unit.hash
            packages |= unit.packages
            left += sorted(unit.uses)
    parts = dict(sorted(parts.items()))
    return Code(combined(parts), parts, tuple(sorted(packages)))


@functools.lru_cache(maxsize=4096)
def imports_of(fn: Callable[..., Any]) -> tuple[str, ...]:
    """The modules imported in the function's body, as `module` or `module:name`, without Python's own.

    A runner can load them once for all nodes. `module:name` stands for `from module import name`.
    """
    module, pieces = _definition(fn)
    imports = uses_of(piece.statement for piece in pieces).imports if module else set()
    found = {imported for imported in imports if not imported.level}
    names = {f"{module}:{name}" if name else module for module, name, _ in found}
    return tuple(sorted(name for name in names if re.split("[.:]", name)[0] not in sys.stdlib_module_names))


def forget() -> None:
    """Forget all sources, so that they are read anew."""
    modules.forget()
    for function in (code_of, imports_of, unit_of):
        function.cache_clear()


@functools.cache
def unit_of(name: str, attribute: str) -> Unit:
    """What a module binds to a name at its top level; without a name, the whole module."""
    module = module_of(name)
    assert module is not None, name
    if not attribute:
        return _unit(module, [Piece(statement) for statement in module.tree.body])
    return _unit(module, _pieces(module, attribute))


def _own(fn: Callable[..., Any]) -> tuple[Unit, dict[str, str]]:
    """The unit of an operator itself, and its parts: its defaults are told apart."""
    reference = f"{fn.__module__}:{fn.__qualname__}"
    module, pieces = _definition(fn)
    closure = _closure(fn, module)
    parts = {f"closure {name}": _hash(_shown(value)) for name, value in closure.items()}
    if module is None:
        return Unit(_hash(""), frozenset(), frozenset()), {reference: _hash(""), **parts}
    unit = _unit(module, pieces, closure)
    if len(pieces) == 1 and isinstance(pieces[0].statement, _Function):
        definition = copy.copy(pieces[0].statement)
        arguments = definition.args
        for argument, default in _defaults(arguments):
            parts[f"default {argument}"] = _hash(text_of([default]))
        definition.args = copy.copy(arguments)
        definition.args.defaults, definition.args.kw_defaults = [], []
        bare = _unit(module, [pieces[0]._replace(statement=definition)], closure)
        return unit, {reference: bare.hash, **parts}
    return unit, {reference: unit.hash, **parts}


def _defaults(arguments: ast.arguments) -> Iterator[tuple[str, ast.expr]]:
    positional = [*arguments.posonlyargs, *arguments.args]
    last = positional[len(positional) - len(arguments.defaults) :]
    pairs = [*zip(last, arguments.defaults, strict=True)]
    pairs += [(a, d) for a, d in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True) if d]
    return ((argument.arg, default) for argument, default in pairs)


def _definition(fn: Callable[..., Any]) -> tuple[Module | None, list[Piece]]:
    """Where a function comes from: what its module binds to its name, or the `def` at its first line."""
    module = module_of(fn.__module__) if isinstance(fn.__module__, str) else None
    if module is not None and (pieces := _pieces(module, fn.__qualname__)):
        return module, pieces
    code = inspect.unwrap(fn).__code__
    module = module_at(fn.__module__, Path(code.co_filename))
    if module is not None and (pieces := _pieces(module, fn.__qualname__)):
        return module, pieces
    for node in ast.walk(module.tree) if module is not None else ():
        if isinstance(node, _Function) and node.name == code.co_name:
            first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            if first == code.co_firstlineno:
                return module, [Piece(node)]
    return None, []


def _closure(fn: Callable[..., Any], module: Module | None) -> dict[str, Any]:
    """The variables that a function took from the one that made it, unless its module tells how."""
    if module is not None and _pieces(module, fn.__qualname__):
        return {}
    made = inspect.unwrap(fn)
    closure = {}
    for name, cell in zip(made.__code__.co_freevars, made.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not bound yet
            closure[name] = cell.cell_contents
    return closure


def _shown(value: Any) -> str:
    """A value as text, if it is made of plain values; of others the type and the name."""
    match value:
        case enum.Enum():
            return f"{type(value).__qualname__}.{value.name}"
        case None | bool() | int() | float() | complex() | str() | bytes():
            return ascii(value)
        case list() | tuple():
            return f"{type(value).__name__}[{','.join(map(_shown, value))}]"
        case set() | frozenset():
            return f"set[{','.join(sorted(map(_shown, value)))}]"
        case dict():
            return f"dict[{','.join(f'{_shown(key)}:{_shown(inner)}' for key, inner in value.items())}]"
        case _ if inspect.isfunction(value):
            return code_of(value).hash
        case _:
            return f"{type(value).__module__}.{type(value).__qualname__}"


def _pieces(module: Module, name: str) -> list[Piece]:
    return [bound for bound in module.bindings.get(name, ()) if isinstance(bound, Piece)]


def _unit(module: Module, pieces: list[Piece], closure: Iterable[str] = ()) -> Unit:
    """The unit that some statements of a module are. What they take from a `closure` is not global."""
    nodes = [node for piece in pieces for node in (*piece.conditions, _without_ours(module, piece.statement))]
    uses = uses_of(nodes)
    own: set[tuple[str, str]] = set()
    foreign: set[tuple[str, str]] = set()
    packages: set[str] = set()
    for root, target in _targets(module, uses, closure):
        if isinstance(target, Imported):
            foreign.add((root, f"{target.module}:{target.name}"))
            packages.add(target.module.partition(".")[0])
        elif target[0] != module.name or not _is_among(_pieces(module, target[1]), pieces):
            own.add(target)
    for imported in map(module.absolute, uses.imports):
        for target in _follow(module, imported, (), set()):
            if isinstance(target, Imported):
                packages.add(target.module.partition(".")[0])
    packages -= {"", "flowc", *sys.stdlib_module_names}
    return Unit(_hash(f"{text_of(nodes)}{sorted(foreign)}"), frozenset(own), frozenset(packages))


def _is_among(some: list[Piece], pieces: list[Piece]) -> bool:
    """Whether a definition is part of another: a loop's variable, of what the loop fills."""
    return bool(some) and all(any(one.statement is piece.statement for piece in pieces) for one in some)


def _targets(module: Module, uses: Uses, closure: Iterable[str]) -> Iterator[tuple[str, Target]]:
    """What names stand for: a unit, as (module, name), or something that is imported from elsewhere."""
    for names in uses.names:
        if names[0] in closure:
            continue
        yield from ((names[0], target) for target in _resolve(module, names, set()))
    for imported, rest in uses.imported:
        # What the code itself imports from elsewhere stands in its text.
        targets = _follow(module, module.absolute(imported), rest, set())
        yield from ((imported.name, target) for target in targets if not isinstance(target, Imported))
    for text in uses.texts:
        name, _, attribute = text.partition(":")
        if module.reads(name) and exists(name):
            yield from (
                ("", target)
                for target in _follow(module, Imported(name, attribute), (), set())
                if not isinstance(target, Imported)
            )


def _resolve(module: Module, names: tuple[str, ...], seen: set[object]) -> Iterator[Target]:
    """What a global name of a module stands for, with some attributes of it."""
    if (module.name, names) in seen:  # two modules that import a name from each other
        return
    seen.add((module.name, names))
    name, *rest = names
    bindings = module.bindings.get(name)
    if bindings is None:
        for star in module.stars if not hasattr(builtins, name) else ():
            yield from _follow(module, star._replace(name=name), tuple(rest), seen)
        return
    if any(isinstance(binding, Piece) for binding in bindings):
        yield module.name, name
    for binding in bindings:
        if isinstance(binding, Imported):
            yield from _follow(module, binding, tuple(rest), seen)


def _follow(user: Module, imported: Imported, rest: tuple[str, ...], seen: set[object]) -> Iterator[Target]:
    """What an import stands for, with some attributes of it."""
    name, names = imported.module, (*filter(None, [imported.name]), *rest)
    if not user.reads(name):
        yield imported
        return
    module = module_of(name)
    while names and not (module and names[0] in module.bindings) and exists(f"{name}.{names[0]}"):
        name, names = f"{name}.{names[0]}", names[1:]
        module = module_of(name)
    if module is None:  # compiled code, or a folder without `__init__.py`
        yield Imported(name)
    elif not names:
        yield name, ""
    elif names[0] not in module.bindings and "__getattr__" in module.bindings:
        yield name, "__getattr__"
    else:
        yield from _resolve(module, names, seen)


def _without_ours(module: Module, statement: ast.stmt) -> ast.stmt:
    """A definition without the decorators of flowc: what they declare stands elsewhere in a plan."""
    if not isinstance(statement, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return statement
    kept = [decorator for decorator in statement.decorator_list if not _is_ours(module, decorator)]
    if len(kept) < len(statement.decorator_list):
        statement = copy.copy(statement)
        statement.decorator_list = kept
    return statement


def _is_ours(module: Module, decorator: ast.expr) -> bool:
    names = chain_of(decorator.func if isinstance(decorator, ast.Call) else decorator)
    targets = list(_resolve(module, names, set())) if names else []
    return bool(targets) and all(
        isinstance(target, Imported) and target.module.partition(".")[0] == "flowc" for target in targets
    )


def _hash(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:16]
