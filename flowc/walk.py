"""From value to value: all that they are, as JSON, with numbers for what is met again."""

from __future__ import annotations

import dataclasses
import datetime
import enum
import functools
import inspect
import re
import sys
import typing
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import PurePath
from types import (
    BuiltinFunctionType,
    CellType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MemberDescriptorType,
    ModuleType,
)
from typing import Any

from flowc.bytecode import Uses, digest_of, uses_of
from flowc.followed import ABSENT, Followed
from flowc.futures import Future
from flowc.hints import structures_of
from flowc.lang import Operator, Workflow
from flowc.purity import (
    GENERATED,
    HARMLESS,
    IMPURE,
    INNER,
    MADE,
    WORLDLY,
    is_generated,
    is_own,
    is_plain,
    is_pure,
    is_pure_module,
    is_sunder,
)

Function = tuple[str, str]  # file, and the name of the outermost function that code stands in
_DEEPEST = 20


class Unknown(Exception):
    """There is no telling what a trace depends on."""


class Walk:
    """From value to value, each once.

    `of_future` shows futures; without it they are not expected. `known` has been met before, elsewhere.
    """

    def __init__(
        self,
        of_future: Callable[[Future], Any] | None = None,
        known: Mapping[int, tuple[int, Any]] | None = None,
    ) -> None:
        self.numbers: dict[int, tuple[int, Any]] = {}  # by id; the object is there to be kept alive
        self.lines: dict[Function, int] = {}
        self.operators: dict[str, Operator[..., Any]] = {}
        self.changeable: list[Any] = []
        self.futures: list[Future] = []
        self.attributes: set[str] = set()
        self.worldly = False  # whether there are paths or dates
        self.imports = False  # whether functions import modules
        self._known = known or {}
        self._of_future = of_future
        self._todo: deque[tuple[int, Any]] = deque()
        self.followed = Followed()

    def finish(self, also: Walk | None = None) -> list[Any]:
        """Show all that was only numbered so far; `Unknown` if a name in use, `also` there, leads too far."""
        parts = []
        while self._todo:
            number, value = self._todo.popleft()
            parts.append([number, self._inside(value)])
        used = self.attributes | (also.attributes if also else set())
        worldly = self.worldly or (also is not None and also.worldly)
        imports = self.imports or (also is not None and also.imports)
        if used & INNER or (used & WORLDLY and worldly) or (used & IMPURE and imports):
            raise Unknown
        if any(name.startswith("__") and name.endswith("__") and name not in HARMLESS for name in used):
            raise Unknown
        return parts

    def shown(self, value: Any, depth: int = 0) -> Any:
        """A value as JSON tells it apart from others: written out, or as a number."""
        kind = type(value)
        if value is None or kind in (bool, int, str):
            return [kind.__name__, value]
        if kind in (float, complex, bytes, range):
            return [kind.__name__, repr(value)]
        if kind is tuple:
            if depth > _DEEPEST:
                raise Unknown
            return ["tuple", [self.shown(part, depth + 1) for part in value]]
        met = self.numbers.get(id(value)) or self._known.get(id(value))
        if met is not None:
            return ["met", met[0]]
        number = len(self._known) + len(self.numbers)
        self.numbers[id(value)] = number, value
        match value:
            case Future() if self._of_future is not None:
                self.futures.append(value)
                return ["future", self._of_future(value)]
            case FunctionType() | Operator() | Workflow() | type():
                self._todo.append((number, value))
                return ["see", number]
            case BuiltinFunctionType() if is_pure(value):
                of = value.__self__  # a method of a list is bound to it
                if not isinstance(of, (ModuleType, type, type(None))):
                    raise Unknown
                bound = self.shown(of) if isinstance(of, type) else None
                return ["builtin", value.__module__, value.__qualname__, bound]
            case staticmethod() | classmethod():
                return [kind.__name__, self.shown(value.__func__)]
            case property():
                return ["property", self.shown(value.fget), self.shown(value.fset)]
            case functools.cached_property():
                return ["cached", self.shown(value.func)]
            case enum.Enum():
                return ["member", self.shown(kind), value.name, self.shown(value.value, depth + 1)]
            case tuple() if hasattr(kind, "_fields"):
                return ["named", self.shown(kind), [self.shown(part, depth + 1) for part in value]]
            case re.Pattern():
                return ["pattern", repr(value.pattern), value.flags]
            case PurePath() if kind.__module__.startswith("pathlib"):
                self.worldly = True
                return ["path", str(value)]
            case datetime.date() if kind in (datetime.date, datetime.datetime):
                self.worldly = True
                return (
                    [kind.__name__, repr(value)]
                    if getattr(value, "tzinfo", None) is None
                    else self._unknown()
                )
            case _ if typing.get_origin(value) is not None:
                return ["alias", self.shown(typing.get_origin(value)), self.shown(typing.get_args(value))]
        if depth > _DEEPEST:
            raise Unknown
        content = self.content(value, depth)
        self.changeable.append(value)
        return content

    def content(self, value: Any, depth: int = 0) -> Any:
        """What is in an object that can change."""
        kind = type(value)
        if kind in (list, set, frozenset):  # sets in the order that a loop over them has
            return [kind.__name__, [self.shown(part, depth + 1) for part in value]]
        if kind is dict:
            pairs = value.items()
            return ["dict", [[self.shown(k, depth + 1), self.shown(v, depth + 1)] for k, v in pairs]]
        if is_plain(kind):
            pairs = vars(value).items()
            return ["instance", self.shown(kind), [[k, self.shown(v, depth + 1)] for k, v in pairs]]
        raise Unknown

    def _inside(self, value: Any) -> Any:
        match value:
            case FunctionType():
                return self._function(value)
            case Operator():
                return self._operator(value)
            case Workflow():
                return self._workflow(value)
            case _:
                return self._class(value)

    def _function(self, fn: FunctionType) -> Any:
        module = fn.__globals__.get("__name__", "")
        if not is_own(module):  # what a function of a library wraps may be the project's own
            closure = [self._cell(cell) for cell in fn.__closure__ or ()]
            pure = is_pure_module(module) and fn.__name__ not in IMPURE
            return [module, fn.__module__, fn.__qualname__, closure] if pure else self._unknown()
        code = fn.__code__
        uses = uses_of(code)
        if not all(is_pure_module(name) for name in uses.imports):
            raise Unknown
        self.attributes |= uses.attributes
        self.imports |= bool(uses.imports)
        self._note_line(code)
        self.followed.size(vars(fn))
        return [
            [fn.__module__, fn.__qualname__, digest_of(code, code.co_firstlineno)],
            [self.shown(value) for value in fn.__defaults__ or ()],
            [[name, self.shown(value)] for name, value in (fn.__kwdefaults__ or {}).items()],
            [self._cell(cell) for cell in fn.__closure__ or ()],
            [[name, self.shown(self.followed.value(vars(fn), name))] for name in vars(fn)],
            self._globals(uses, fn.__globals__),
            # A process has one seed for the order of all its sets of strings.
            hash("seed") if uses.sets or any(c[0] in ("set", "frozenset") for c in uses.chains) else 0,
        ]

    def _cell(self, cell: CellType) -> Any:
        value = self.followed.content(cell)
        return [] if value is ABSENT else [self.shown(value)]

    def _globals(self, uses: Uses, names: dict[str, Any]) -> list[Any]:
        """What the globals are that code takes, and the attributes of modules."""
        found = []
        for chain in sorted(uses.chains):
            value = self.followed.value(names, chain[0])
            if value is ABSENT and chain[0] in IMPURE:
                raise Unknown
            rest = list(chain[1:])
            library = ""
            while isinstance(value, ModuleType):
                if not rest or (not is_own(value.__name__) and not is_pure_module(value.__name__)):
                    raise Unknown
                library = "" if is_own(value.__name__) else value.__name__
                name = rest.pop(0)
                if name in IMPURE if library else hasattr(value, "__getattr__"):
                    raise Unknown
                value = self.followed.value(vars(value), name)
            if value is ABSENT or library:
                found.append([chain, library])
            else:
                found.append([chain, self.shown(value)])
        return found

    def _note_line(self, code: CodeType) -> None:
        function, line = (code.co_filename, code.co_qualname), code.co_firstlineno
        self.lines[function] = line if self.lines.get(function, line) == line else 0

    def _operator(self, op: Operator[..., Any]) -> Any:
        """An operator as its callers see it."""
        self.operators[op.reference] = op
        known = (*op.signature.parameters, "return")
        structures = structures_of([hint for name, hint in op.hints.items() if name in known])
        takes = [[name, str(of), repr(op.signature.parameters[name].kind)] for name, of in op.takes.items()]
        optional = sorted(n for n, p in op.signature.parameters.items() if p.default is not p.empty)
        rows = [structures[name] for name in sorted(structures)]
        importable = getattr(sys.modules.get(op.fn.__module__), op.fn.__qualname__, None) is op
        self._untouched(op)
        return [op.reference, op.name, importable, takes, optional, str(op.gives), op.declaration, rows]

    def _workflow(self, workflow: Workflow[..., Any]) -> Any:
        static = [[name, str(of)] for name, of in workflow.static.items()]
        self._untouched(workflow)
        return [workflow.reference, static, str(workflow.signature), self.shown(workflow.origin)]

    def _untouched(self, value: Operator[..., Any] | Workflow[..., Any]) -> None:
        """`Unknown` if somebody has set attributes of their own."""
        if not self.followed.untouched(value):
            raise Unknown

    def _class(self, cls: type) -> Any:
        if not is_own(cls.__module__):
            return [cls.__module__, cls.__qualname__] if is_pure(cls) else self._unknown()
        names = vars(cls)
        self.followed.size(names)
        members = []
        for name in sorted(names):
            value = self.followed.value(names, name)
            made = name in GENERATED and is_generated(value)
            described = isinstance(value, (MemberDescriptorType, GetSetDescriptorType))
            if name in MADE or made or described or type(value).__name__ == "_tuplegetter":
                members.append([name])
            elif not isinstance(cls, enum.EnumMeta) or not (name in cls.__members__ or is_sunder(name)):
                members.append([name, self.shown(value)])
        return [
            [cls.__module__, cls.__qualname__],
            [self.shown(base) for base in (type(cls), *cls.__bases__)],
            [[name, str(hint)] for name, hint in inspect.get_annotations(cls).items()],
            members,
            [[field.name, self._field(field)] for field in names.get("__dataclass_fields__", {}).values()],
            repr(names.get("__dataclass_params__")),
            repr(names.get("__slots__")) + repr(names.get("_fields")) + repr(names.get("_field_defaults")),
            [[name, self.shown(member.value)] for name, member in getattr(cls, "__members__", {}).items()],
        ]

    def _field(self, field: Any) -> list[Any]:
        values = [
            None if v is dataclasses.MISSING else [self.shown(v)]
            for v in (field.default, field.default_factory)
        ]
        return [*values, field.init, field.kw_only is True, str(field.type)]

    def _unknown(self) -> typing.NoReturn:
        raise Unknown
