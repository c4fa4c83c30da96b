"""Syntax trees as text: the same text for code that differs only in its layout, on every Python.

Comments, blank lines, quotes and brackets never reach a syntax tree. What does and must not matter is left
out here: docstrings and other statements without effect, `pass`, the order of imports that stand together,
how an f-string was split, `u` before a string. `ast.dump` is no help: its text differs between Pythons.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterable, Iterator
from typing import Any

_SKIPPED = {"ctx", "kind", "type_comment"}


def text_of(nodes: Iterable[ast.AST]) -> str:
    """The text of some syntax trees. Without recursion: generated code can be nested deeply."""
    found: list[str] = []
    left: list[Any] = [_CLOSE_LIST, *_in_reverse(list(nodes)), _OPEN_LIST]
    while left:
        part = left.pop()
        kind: Any = type(part)
        if kind is _Text:
            found.append(part)
        elif kind is ast.Name:  # half of all
            found.append(f"Name({part.id!a})")
        elif kind is ast.Constant:
            value = part.value
            # `repr` of a string depends on the version of Unicode; a large integer may not be written.
            found.append(f"{hex(value) if type(value) is int and abs(value) > 2**63 else ascii(value)},")
        elif kind is list:
            left += [_CLOSE_LIST, *_in_reverse(part), _OPEN_LIST]
        elif kind is ast.JoinedStr:
            values = _joined(part)
            if len(values) <= 1 and all(isinstance(value, ast.Constant) for value in values):
                left.append(values[0] if values else ast.Constant(""))
            else:
                left += [_CLOSE, *reversed(values), _OPEN_STRING]
        elif isinstance(part, ast.AST):
            opening, fields = _shape(kind)
            found.append(opening)
            left.append(_CLOSE)
            for name, title in fields:
                value = getattr(part, name, None)
                if value is not None and not _is_empty(value):
                    left += [value, title]
        elif part is None:  # in a list: the key of `{**more}`, a parameter without a default
            found.append("-,")
        else:  # names, and the few numbers that are no constants
            found.append(f"{part!a},")
    return "".join(found)


class _Text(str):
    """Text that is ready, among trees that are not."""

    __slots__ = ()


_OPEN_LIST, _CLOSE_LIST, _CLOSE, _OPEN_STRING = map(_Text, ("[", "]", ")", "JoinedStr("))


@functools.cache
def _shape(kind: Any) -> tuple[str, list[tuple[str, _Text]]]:
    """How the text of a kind of node begins, and the fields that count, last first.

    Sorted, because Pythons may differ in their order.
    """
    names = sorted(set(kind._fields) - _SKIPPED, reverse=True)
    return f"{kind.__name__}(", [(name, _Text(f"{name}=")) for name in names]


def _is_empty(value: Any) -> bool:
    """Whether a field may as well not be there: what newer Pythons add mostly is."""
    kind = type(value)
    if kind is list:
        return not value or (isinstance(value[0], ast.stmt) and not any(map(_has_effect, value)))
    if kind is ast.JoinedStr:  # the format of `f"{x:}"`
        return not _joined(value)
    return kind is int and value == 0  # the level of an absolute import


def _in_reverse(nodes: list[Any]) -> list[Any]:
    if nodes and isinstance(nodes[0], ast.stmt):
        nodes = [*_in_order(statement for statement in nodes if _has_effect(statement))]
    return nodes[::-1]


def _has_effect(statement: ast.stmt) -> bool:
    match statement:
        case ast.Pass() | ast.Expr(value=ast.Constant()):  # a docstring, one of an attribute, `...`
            return False
        case _:
            return True


def _in_order(statements: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements, with one name an import and imports that stand together sorted, as formatters do."""
    imports: list[ast.Import | ast.ImportFrom] = []
    for statement in statements:
        match statement:
            case ast.Import(names=names):
                imports += [ast.Import([alias]) for alias in names]
            case ast.ImportFrom(module=module, names=names, level=level):
                imports += [ast.ImportFrom(module, [alias], level) for alias in names]
            case _:
                yield from sorted(imports, key=_import_key)
                imports = []
                # A formatter takes away the brackets of `del (a, b)`.
                yield (
                    ast.Delete([*_deleted(statement.targets)])
                    if isinstance(statement, ast.Delete)
                    else statement
                )
    yield from sorted(imports, key=_import_key)


def _import_key(statement: ast.Import | ast.ImportFrom) -> tuple[str, ...]:
    alias = statement.names[0]
    origin = (
        f"{'.' * statement.level}{statement.module or ''}" if isinstance(statement, ast.ImportFrom) else ""
    )
    return (origin, alias.name, alias.asname or "")


def _deleted(targets: Iterable[ast.expr]) -> Iterator[ast.expr]:
    for target in targets:
        if isinstance(target, (ast.Tuple, ast.List)):
            yield from _deleted(target.elts)
        else:
            yield target


def _joined(string: ast.JoinedStr) -> list[ast.expr]:
    """The parts of an f-string, with texts that stand side by side joined and empty ones left out."""
    values: list[ast.expr] = []
    texts: list[str] = []
    for value in string.values:
        if isinstance(value, ast.Constant):
            texts.append(str(value.value))
            continue
        values += [ast.Constant(text) for text in ["".join(texts)] if text]
        values.append(value)
        texts = []
    return [*values, *(ast.Constant(text) for text in ["".join(texts)] if text)]
