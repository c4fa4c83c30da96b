"""Where functions, their parameters and what their decorators declare stand in the source."""

from __future__ import annotations

import ast
import inspect
import textwrap
from typing import Any

from flowc.plan.diagnostics import Place
from flowc.spans import display_path


def definition_of(fn: Any, parameter: str = "", declared: str = "") -> Place:
    """Where a function or class is defined, its `parameter` (`return`: its result), or what it `declared`."""
    code = getattr(fn, "__code__", None)
    try:
        file = display_path(code.co_filename if code else inspect.getfile(fn))
        lines, first = inspect.getsourcelines(fn)
        first = code.co_firstlineno if code else first
        source = "".join(lines)
        definition = ast.parse(textwrap.dedent(source)).body[0]
    except TypeError:  # neither a function nor a class
        return Place("<unknown>")
    except (OSError, SyntaxError):  # made by `exec`, or a lambda in the middle of something
        return Place(file, code.co_firstlineno) if code else Place("<unknown>")
    if not isinstance(definition, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
        return Place(file, first)
    part = _part(definition, parameter, declared)
    if part is None:
        return Place(file, first + definition.lineno - 1)
    indent = len(source) - len(source.lstrip())
    end = (part.end_col_offset or 0) if part.end_lineno == part.lineno else part.col_offset + 1
    return Place(file, first + part.lineno - 1, part.col_offset + indent + 1, end + indent + 1)


def _part(
    definition: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, parameter: str, declared: str
) -> ast.arg | ast.expr | None:
    if isinstance(definition, ast.ClassDef):
        attributes = (line for line in definition.body if isinstance(line, ast.AnnAssign))
        return next((line.target for line in attributes if ast.unparse(line.target) == parameter), None)
    arguments = definition.args
    if parameter == "return":
        return definition.returns
    if parameter:
        everything = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        everything += [extra for extra in (arguments.vararg, arguments.kwarg) if extra is not None]
        return next((arg for arg in everything if arg.arg == parameter), None)
    for decorator in definition.decorator_list if declared else ():
        for keyword in decorator.keywords if isinstance(decorator, ast.Call) else ():
            if keyword.arg == declared:
                return keyword.value
    return None
