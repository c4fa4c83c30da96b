"""What the tracing of a workflow depends on: the code and the values that its function reaches.

Two traces with equal reach and equal arguments record the same calls, so that one of them can be spared. Read
from the functions as they are loaded, not from their source: a `CodeType` holds all that matters to a trace,
the places of calls within the function included, and nothing has to be parsed. What might make a trace differ
in another way (files, the environment, the clock, libraries) makes a workflow's reach unknown.

Of operators only the interface counts: what is in their bodies does not run while a workflow is traced.
"""

from __future__ import annotations

import enum
import hashlib
import inspect
import opcode
import sys
from collections.abc import Callable
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import msgspec

from flowc.futures import Future
from flowc.hints import structures_of
from flowc.lang import Operator, Workflow
from flowc.plan.diagnostics import Refused

Function = tuple[str, str]  # file, and the name of the outermost function that code stands in

_PURE = {
    *(
        "__future__",
        "_operator",
        "abc",
        "bisect",
        "builtins",
        "collections",
        "copy",
        "dataclasses",
        "decimal",
    ),
    *("enum", "flowc", "fractions", "functools", "heapq", "itertools", "json", "math", "numbers", "operator"),
    *("re", "statistics", "string", "textwrap", "types", "typing", "typing_extensions", "msgspec"),
}
_IMPURE_BUILTINS = {
    *("__import__", "breakpoint", "compile", "eval", "exec", "globals", "hash", "id", "input", "locals"),
    *("open", "vars"),
}
_LOADS = {
    opcode.opmap["LOAD_GLOBAL"]: 1,
    opcode.opmap["LOAD_NAME"]: 0,
}  # by how much their argument is shifted


class Unknown(Exception):
    """There is no telling what a trace depends on."""


class Reach(msgspec.Struct, frozen=True, eq=False):
    """All that a function reaches: a hash, where its functions begin, its operators, what may change."""

    hash: str
    lines: dict[Function, int]
    operators: dict[str, Operator[..., Any]]
    changeable: list[Any]

    def state(self) -> str:
        """A hash of the lists and mappings that are reached; `Unknown` if one holds what cannot be told."""
        return hash_of([Walk().shown(value) for value in self.changeable])


def reach_of(workflow: Workflow[..., Any]) -> Reach:
    """What a workflow reaches; `Unknown` if that cannot be told."""
    walk = Walk()
    walk.visit(workflow.origin)
    walk.parts.append(str(inspect.signature(workflow.origin)))
    try:
        return Reach(hash_of(walk.parts), walk.lines, walk.operators, walk.changeable)
    except Refused as refusal:  # an operator with an impossible annotation: the trace is going to say so
        raise Unknown from refusal


def hash_of(value: Any) -> str:
    """32 hex digits that stand for a JSON-like value."""
    data = msgspec.json.encode(value, order="deterministic")
    return hashlib.blake2b(data, digest_size=16).hexdigest()


class Walk:
    """From value to value, each once. `of_future` tells futures apart; without it they are not expected."""

    def __init__(self, of_future: Callable[[Future], Any] | None = None) -> None:
        self.parts: list[Any] = []
        self._of_future = of_future
        self.lines: dict[Function, int] = {}
        self.operators: dict[str, Operator[..., Any]] = {}
        self.changeable: list[Any] = []
        self._seen: set[int] = set()

    def visit(self, first: Any) -> None:
        """Take note of a value and of all that it leads to."""
        todo = [first]
        while todo:
            value = todo.pop()
            if id(value) in self._seen:
                continue
            self._seen.add(id(value))
            match value:
                case FunctionType():
                    todo += self._function(value)
                case Operator():
                    self._operator(value)
                case Workflow():
                    todo.append(value.origin)
                case type():
                    todo += self._class(value)
                case staticmethod() | classmethod():
                    todo.append(value.__func__)
                case property():
                    todo += [part for part in (value.fget, value.fset) if part is not None]
                case _:
                    if isinstance(value, (list, dict, set)):
                        self.changeable.append(value)
                    self.parts.append(self.shown(value))

    def shown(self, value: Any, depth: int = 0) -> Any:
        """A plain value as JSON tells it apart from others."""
        if depth > 20:
            raise Unknown
        match value:
            case None | bool() | int() | str():
                return [type(value).__name__, value]
            case Future() if self._of_future is not None:
                return ["future", self._of_future(value), str(value._type)]
            case float() | complex() | bytes() | range() | slice():
                return [type(value).__name__, repr(value)]
            case enum.Enum():
                return [type(value).__module__, type(value).__qualname__, value.name]
            case list() | tuple():
                return [type(value).__qualname__, [self.shown(part, depth + 1) for part in value]]
            case set() | frozenset():
                return [type(value).__qualname__, sorted(repr(self.shown(part, depth + 1)) for part in value)]
            case dict():
                pairs = value.items()
                return ["dict", [[self.shown(k, depth + 1), self.shown(v, depth + 1)] for k, v in pairs]]
            case Path():
                return ["path", str(value)]
            case BuiltinFunctionType() if _root(value) in _PURE and value.__name__ not in _IMPURE_BUILTINS:
                return ["builtin", value.__qualname__]
            case FunctionType() | Operator() | Workflow() | type():
                self.visit(value)
                return ["reference", value.__module__, getattr(value, "__qualname__", "")]
            case _:
                raise Unknown

    def _function(self, fn: FunctionType) -> list[Any]:
        if not _is_own(fn.__module__):
            if _root(fn) not in _PURE:
                raise Unknown
            self.parts.append([fn.__module__, fn.__qualname__])
            return []
        code = fn.__code__
        self.lines[code.co_filename, code.co_qualname] = code.co_firstlineno
        self.parts.append([fn.__module__, fn.__qualname__, _digest(code, code.co_firstlineno)])
        reached: list[Any] = [*(fn.__defaults__ or ()), *(fn.__kwdefaults__ or {}).values()]
        for cell in fn.__closure__ or ():
            try:
                reached.append(cell.cell_contents)
            except ValueError:  # not bound yet
                raise Unknown from None
        return reached + self._globals(code, fn.__globals__)

    def _globals(self, code: CodeType, names: dict[str, Any]) -> list[Any]:
        reached = []
        for name in sorted(_loaded(code)):
            if name in names:
                value = names[name]
                reached += self._attributes(value, code) if isinstance(value, ModuleType) else [value]
            elif name in _IMPURE_BUILTINS:
                raise Unknown
        return reached

    def _attributes(self, module: ModuleType, code: CodeType) -> list[Any]:
        """What code may take from a module: whatever of it has a name that occurs there."""
        root = module.__name__.partition(".")[0]
        if not _is_own(module.__name__):
            if root not in _PURE:
                raise Unknown
            return []
        return [vars(module)[name] for name in sorted(_all_names(code)) if name in vars(module)]

    def _operator(self, op: Operator[..., Any]) -> None:
        """An operator as its callers see it."""
        self.operators[op.reference] = op
        known = (*op.signature.parameters, "return")
        structures = structures_of([hint for name, hint in op.hints.items() if name in known])
        takes = [[name, str(of), repr(op.signature.parameters[name].kind)] for name, of in op.takes.items()]
        optional = sorted(n for n, p in op.signature.parameters.items() if p.default is not p.empty)
        rows = [structures[name] for name in sorted(structures)]
        self.parts.append([op.reference, takes, optional, str(op.gives), op.declaration, rows])

    def _class(self, cls: type) -> list[Any]:
        self.parts.append([cls.__module__, cls.__qualname__])
        if not _is_own(cls.__module__):
            if cls.__module__.partition(".")[0] not in _PURE:
                raise Unknown
            return []
        self.parts.append([[name, str(hint)] for name, hint in inspect.get_annotations(cls).items()])
        members = [value for name, value in sorted(vars(cls).items()) if not _is_made(name, value)]
        return [*cls.__bases__, *members]


def _is_made(name: str, value: Any) -> bool:
    """Whether an attribute of a class is Python's own doing."""
    if isinstance(value, FunctionType):
        return value.__code__.co_filename.startswith("<")  # of a dataclass
    return name.startswith("__") and name.endswith("__")


def _root(value: Any) -> str:
    return (getattr(value, "__module__", None) or "builtins").partition(".")[0]


def _is_own(name: str) -> bool:
    """Whether a module is of the project, and not installed."""
    file = getattr(sys.modules.get(name), "__file__", None) or ""
    if name.partition(".")[0] in sys.stdlib_module_names or name.partition(".")[0] == "flowc":
        return False
    return bool(file) and "site-packages" not in Path(file).parts


def _digest(code: CodeType, base: int) -> str:
    """A hash of code, by places relative to line `base`."""
    found = hashlib.blake2b(code.co_code, digest_size=16)
    found.update(repr((code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)).encode())
    found.update(repr((code.co_firstlineno - base, code.co_flags, code.co_argcount)).encode())
    found.update(code.co_linetable + code.co_exceptiontable)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            inner = _digest(constant, base)
        else:  # the order of a set differs from process to process
            inner = repr(sorted(constant, key=repr) if isinstance(constant, frozenset) else constant)
        found.update(f"{type(constant).__name__} {inner}\n".encode())
    return found.hexdigest()


def _loaded(code: CodeType) -> set[str]:
    """The global names that code loads, in functions within it, too."""
    found, argument = set(), 0
    for operation, low in zip(code.co_code[::2], code.co_code[1::2], strict=True):
        argument = argument << 8 | low
        if operation in _LOADS:
            found.add(code.co_names[argument >> _LOADS[operation]])
        if operation != opcode.opmap["EXTENDED_ARG"]:
            argument = 0
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _loaded(constant)
    return found


def _all_names(code: CodeType) -> set[str]:
    found = set(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found |= _all_names(constant)
    return found
