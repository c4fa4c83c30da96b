"""Where in the source things happen while a workflow is traced, and what the author calls them.

A call is found from the frames on the stack: CPython 3.11+ knows the exact columns of the running
instruction (PEP 657), and the parsed source tells the variable a call is assigned to and the loops it
stands in.
"""

from __future__ import annotations

import ast
import datetime
import functools
import inspect
import linecache
import numbers
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import msgspec

from flowc.plan.diagnostics import Place
from flowc.variables import variables_of

_PACKAGE = str(Path(__file__).parent)
_COMPREHENSIONS = {"<listcomp>", "<dictcomp>", "<setcomp>", "<genexpr>", "<lambda>"}
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda, ast.ClassDef)
_GENERATOR = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_CONTAINERS = {"list", "tuple", "dict", "set", "sorted"}


class Call(msgspec.Struct, frozen=True, eq=False):
    """A call in the source: where, under which name, and the variables of the loops around it.

    `name` is the variable that it is assigned to, or "" if there is none. `node` is its syntax tree,
    `function` the file and the name of the outermost function that it stands in.
    """

    place: Place
    name: str
    loops: tuple[str, ...]
    node: ast.Call | None
    function: tuple[str, str] = ("", "")


class _Syntax(msgspec.Struct, frozen=True, eq=False):
    """A parsed file: calls by where they end (no two share a closing bracket), each node's parent, and by the
    place that CPython reports for a whole statement or expression the part of it that is meant.
    """

    calls: dict[tuple[int, int], ast.Call]
    parents: dict[ast.AST, ast.AST]
    asking: dict[tuple[int, int, int, int], ast.expr]


class Frame(msgspec.Struct, frozen=True, eq=False):
    """A call under way: the static call, and the values of the loop variables around it."""

    call: Call
    keys: tuple[str, ...]


_Scope = tuple[FrameType, Mapping[str, Any]]  # of which only functions within it can change the variables


class Stack:
    """The author's calls under way, above the frame that runs the code `stop`.

    While the innermost frame is the same, those around it wait, and have not moved. (Generators are resumed
    from anywhere, so that this does not hold for them.)
    """

    def __init__(self, stop: CodeType) -> None:
        self._stop = stop
        self._innermost: FrameType | None = None
        self._around: list[_Scope] = []  # what a comprehension or a lambda stands in
        self._outer: list[Frame] = []

    def frames(self) -> list[Frame]:
        """The calls, outermost first."""
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and frame.f_code is not self._stop:
            if frame is self._innermost or not frame.f_code.co_filename.startswith(_PACKAGE):
                if frame is not self._innermost and not self._look_around(frame):
                    return []
                call = call_at(frame.f_code, frame.f_lasti)
                keys = _loop_keys(call, frame, self._around) if call.loops else ()
                return [*self._outer, Frame(call, keys)]
            frame = frame.f_back
        return []

    def forget(self) -> None:
        """Let go of the frame that was looked at last, and of all that its variables hold."""
        self._innermost, self._around, self._outer = None, [], []

    def _look_around(self, innermost: FrameType) -> bool:
        """Find the calls around a frame; whether there is a function that it is part of."""
        found = []
        steady = True
        group: list[FrameType] = []  # comprehensions and lambdas, up to the function that they stand in
        first: list[FrameType] | None = None
        current: FrameType | None = innermost
        while current is not None and current.f_code is not self._stop:
            code = current.f_code
            if not code.co_filename.startswith(_PACKAGE):
                steady = steady and not code.co_flags & _GENERATOR
                group.append(current)
                if code.co_name not in _COMPREHENSIONS:
                    if first is None:
                        first = group
                    else:
                        call = call_at(group[0].f_code, group[0].f_lasti)
                        found.append(Frame(call, _loop_keys(call, group[0], [*map(_scope, group[1:])])))
                    group = []
            current = current.f_back
        found.reverse()
        self._outer = found
        self._around = [*map(_scope, (first or [])[1:])]
        self._innermost = innermost if steady else None
        return first is not None


def innermost_place() -> Place:
    """The place of the expression that the author's code is evaluating."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back
    if frame is None:
        return Place("<unknown>")
    code = frame.f_code
    asking = _syntax(code.co_filename).asking.get(_position(code, frame.f_lasti))
    if asking is not None:
        return place_of(asking, display_path(code.co_filename), code.co_filename)
    return place_at(code, frame.f_lasti)


def place_at(code: CodeType, instruction: int) -> Place:
    """The place of an instruction. Columns count characters from 1."""
    line, end_line, column, end_column = _position(code, instruction)
    if not line:
        return Place(display_path(code.co_filename), code.co_firstlineno)
    text = linecache.getline(code.co_filename, line)
    start = _characters(text, column)
    end = _characters(text, end_column) if end_line == line else len(text.rstrip()) + 1
    return Place(display_path(code.co_filename), line, start, end)


def place_of(node: ast.expr | ast.stmt, file: str, lines_of: str | None = None) -> Place:
    """The place of a syntax node of a displayed file; `lines_of` is the file's real path if it differs."""
    text = linecache.getline(lines_of or file, node.lineno)
    one_line = node.end_lineno == node.lineno
    end = _characters(text, node.end_col_offset or 0) if one_line else len(text.rstrip()) + 1
    return Place(file, node.lineno, _characters(text, node.col_offset), end)


@functools.cache
def display_path(filename: str) -> str:
    """A path that is the same on every machine: relative to the current folder, or to the import path."""
    path = Path(filename)
    for root in (Path.cwd(), *sorted((Path(p) for p in sys.path if p), key=lambda p: -len(p.parts))):
        try:
            return path.relative_to(root).as_posix()
        except ValueError:
            continue
    return path.name


# By identity: hashing code is slow, and that of two files can be equal. The code is kept alive beside.
_calls: dict[tuple[int, int], tuple[Call, CodeType]] = {}


def call_at(code: CodeType, instruction: int) -> Call:
    """The call that an instruction makes; the same object whenever it makes it."""
    known = _calls.get((id(code), instruction))
    if known is None:
        known = _calls[id(code), instruction] = (_read_call(code, instruction), code)
    return known[0]


def _read_call(code: CodeType, instruction: int) -> Call:
    place = place_at(code, instruction)
    _, end_line, _, end_column = _position(code, instruction)
    function = (code.co_filename, code.co_qualname.partition(".<locals>")[0])
    syntax = _syntax(code.co_filename)
    node = syntax.calls.get((end_line, end_column))
    if node is None:
        return Call(place, "", (), None, function)
    name, loops = _read_surroundings(node, syntax.parents)
    return Call(place, name, loops, node, function)


def _position(code: CodeType, instruction: int) -> tuple[int, int, int, int]:
    positions = _positions(code)
    line, end_line, column, end_column = positions[instruction // 2] if positions else (0, 0, 0, 0)
    return line or 0, end_line or 0, column or 0, end_column or 0


@functools.lru_cache(maxsize=256)
def _positions(code: CodeType) -> list[tuple[int | None, int | None, int | None, int | None]]:
    """All at once: finding one walks over all before it, so a long function would cost its length squared."""
    return list(code.co_positions())


def _characters(text: str, offset: int) -> int:
    """Column, from 1, of a UTF-8 offset into a line."""
    return len(text.encode()[:offset].decode(errors="replace")) + 1


@functools.cache
def _syntax(filename: str) -> _Syntax:
    found = _Syntax({}, {}, {})
    try:
        todo: list[ast.AST] = [ast.parse("".join(linecache.getlines(filename)))]
    except SyntaxError:
        return found
    while todo:
        node = todo.pop()
        if isinstance(node, ast.Call):
            found.calls[node.end_lineno or 0, node.end_col_offset or 0] = node
        asked = _asked(node)
        if asked is not None and isinstance(node, (ast.stmt, ast.expr)):
            position = (node.lineno, node.end_lineno or 0, node.col_offset, node.end_col_offset or 0)
            found.asking[position] = asked
        for child in ast.iter_child_nodes(node):
            found.parents[child] = node
            todo.append(child)
    return found


def _asked(node: ast.AST) -> ast.expr | None:
    """The part of a statement or an expression whose value Python asks for, in the name of the whole."""
    match node:
        case ast.If(test=asked) | ast.While(test=asked) | ast.IfExp(test=asked) | ast.Assert(test=asked):
            return asked
        case ast.For(iter=asked) | ast.With(items=[ast.withitem(context_expr=asked)]):
            return asked
        case ast.ListComp() | ast.SetComp() | ast.DictComp() | ast.GeneratorExp():
            match node.generators:
                case [ast.comprehension(iter=asked, ifs=[])]:
                    return asked
            return None
        case _:
            return None


def _read_surroundings(node: ast.Call, parents: dict[ast.AST, ast.AST]) -> tuple[str, tuple[str, ...]]:
    """The name a call is assigned to, and the loop variables around it, outermost loop first."""
    name: str | None = None
    loops: list[list[str]] = []
    child: ast.AST = node
    while (parent := parents.get(child)) is not None and not isinstance(parent, _FUNCTIONS):
        if name is None:
            name = _name_given(child, parent, parents.get(parent))
        if isinstance(parent, (ast.For, ast.AsyncFor)) and child in parent.body:
            loops.append(_names(parent.target))
        elif isinstance(parent, (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)):
            loops += [_names(generator.target) for generator in reversed(parent.generators)]
        child = parent
    return name or "", tuple(name for names in reversed(loops) for name in names)


def _name_given(child: ast.AST, parent: ast.AST, above: ast.AST | None) -> str | None:
    """The name that `parent` gives to `child`; "" when it has none; `None` to ask further out."""
    match parent:
        case ast.Tuple(elts=values) if isinstance(above, ast.Assign) and above.value is parent:
            return _unpacked_name(above.targets[0], next(i for i, v in enumerate(values) if v is child))
        case ast.Assign(targets=[target, *_]) | ast.AnnAssign(target=target) | ast.NamedExpr(target=target):
            return _target_name(target)
        case ast.Dict():
            for key, value in zip(parent.keys, parent.values, strict=True):
                if value is child and isinstance(key, ast.Constant) and isinstance(key.value, str):
                    return clean(key.value)
            return ""
        case (
            ast.ListComp()
            | ast.SetComp()
            | ast.DictComp()
            | ast.GeneratorExp()
            | ast.IfExp()
            | ast.Attribute()
        ):
            return None
        case ast.Call(func=ast.Name(id=function)) if function in _CONTAINERS and isinstance(
            child, ast.GeneratorExp
        ):
            return None
        case _:
            return ""


def _unpacked_name(target: ast.expr, index: int) -> str:
    """The name in `a, b = x, y` for the value at an index."""
    if not isinstance(target, (ast.Tuple, ast.List)):
        return ""
    if index >= len(target.elts) or any(isinstance(t, ast.Starred) for t in target.elts[: index + 1]):
        return ""
    return _target_name(target.elts[index])


def _target_name(target: ast.expr) -> str:
    match target:
        case ast.Name(id=name):
            return name
        case ast.Subscript(value=ast.Name(id=name), slice=ast.Constant(value=str() | int() as key)):
            return f"{name}.{clean(str(key))}"
        case ast.Subscript(value=ast.Name(id=name)):
            return name
        case ast.Attribute(attr=name):
            return name
        case _:
            return ""


def _names(target: ast.expr) -> list[str]:
    return [node.id for node in ast.walk(target) if isinstance(node, ast.Name)]


def _scope(frame: FrameType) -> _Scope:
    return frame, variables_of(frame)


def _loop_keys(call: Call, frame: FrameType, around: Sequence[_Scope]) -> tuple[str, ...]:
    """What the loop variables hold, as far as it can stand in an id."""
    if not call.loops:
        return ()
    scope = variables_of(frame)
    found = []
    for name in call.loops:
        if name in scope:
            value = scope[name]
        else:
            for outer, seen in around:
                if name in seen:
                    # A function within may have changed it.
                    value = (variables_of(outer) if name in outer.f_code.co_cellvars else seen)[name]
                    break
            else:
                continue
        key = str(value) if type(value) is int else _key(value)
        if key:
            found.append(key)
    return tuple(found)


def _key(value: Any) -> str:
    """What stands in an id for the value of a loop variable; "" for what cannot."""
    if isinstance(value, (str, numbers.Real, datetime.date)):
        return clean(str(value))
    return ""


@functools.lru_cache(maxsize=4096)
def clean(text: str) -> str:
    """Text as it may stand in an id: letters, digits and `_.+-`, bounded."""
    return "".join(c if c.isalnum() or c in "_.+-" else "_" for c in text)[:64]
