"""What a plan keeps of an operator's source: a hash that tells when it changed, and its imports."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import io
import re
import sys
import textwrap
import tokenize
from collections.abc import Callable
from typing import Any


@functools.lru_cache(maxsize=4096)
def code_hash(fn: Callable[..., Any]) -> str:
    """16 hex digits of the function's source without decorators, comments, docstring and blank lines.

    Taken from the text, not from `ast` or bytecode, which differ between versions of Python.
    """
    source = _source(fn)
    definition = _definition(source)
    lines = source.splitlines(keepends=True)
    skipped: set[int] = set(range(1, definition.lineno)) if definition is not None else set()
    if definition is not None and ast.get_docstring(definition, clean=False) is not None:
        docstring = definition.body[0]
        skipped |= set(range(docstring.lineno, (docstring.end_lineno or docstring.lineno) + 1))
        if docstring.lineno == definition.lineno:  # `def f(): "one line"`
            skipped.discard(definition.lineno)
    in_text: set[int] = set()  # lines that end within a string: there, spaces and blank lines count
    strings: list[int] = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        kind, (line, column) = tokenize.tok_name[token.type], token.start
        if kind == "COMMENT":
            lines[line - 1] = lines[line - 1][:column]
        elif kind == "STRING":
            in_text.update(range(line, token.end[0]))
        elif kind == "FSTRING_START":  # Python 3.12 and newer tell the parts of an f-string apart
            strings.append(line)
        elif kind == "FSTRING_END":
            in_text.update(range(strings.pop(), token.end[0]))
    kept = [
        line.rstrip("\n") if number in in_text else line.rstrip()
        for number, line in enumerate(lines, 1)
        if number not in skipped and (number in in_text or line.strip())
    ]
    text = "\n".join(kept)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@functools.lru_cache(maxsize=4096)
def imports_of(fn: Callable[..., Any]) -> tuple[str, ...]:
    """The modules imported in the function's body, as `module` or `module:name`, without Python's own.

    A runner can load them once for all nodes. `module:name` stands for `from module import name`.
    """
    definition = _definition(_source(fn))
    found: dict[str, None] = {}
    for node in ast.walk(definition) if definition is not None else ():
        match node:
            case ast.Import(names=names):
                found |= {alias.name: None for alias in names}
            case ast.ImportFrom(module=str(module), names=names, level=0):
                found |= {f"{module}:{alias.name}": None for alias in names}
    return tuple(sorted(name for name in found if re.split("[.:]", name)[0] not in sys.stdlib_module_names))


def _source(fn: Callable[..., Any]) -> str:
    try:
        return textwrap.dedent(inspect.getsource(fn))
    except (OSError, TypeError):  # made by `exec`: nothing to read
        return ""


def _definition(source: str) -> ast.FunctionDef | None:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return None
    return body[0] if body and isinstance(body[0], ast.FunctionDef) else None
