"""Type expressions: the types of a plan's inputs, arguments and outputs, written as text.

    int                       list[float]              dict[str, int]        tuple[int, str]
    str | None                Literal["a", "b"]        Array                 stdlib.types:Scores
    int(ge=1, le=100)         Tensor[float32, 'n, 4]   list['T]              Dataset[{age: float64}]

`expressions` reads and prints them, `fits` says what may go where, `variables` binds `'T`, `values` converts
and checks values. None of it needs user code; a class is known by what the plan says of it.
"""

from flowc.plan.types.expressions import (
    ANY,
    BUILTIN,
    DTYPES,
    NONE,
    NOTES,
    RECORD,
    UNION,
    Arg,
    Scalar,
    Type,
    TypeSyntaxError,
    is_sound,
    is_variable,
    parse,
    plain,
    type_of_scalar,
    union,
)
from flowc.plan.types.fits import Classes, assignable, columns_of
from flowc.plan.types.live import is_live, violation
from flowc.plan.types.values import convert, parse_text, python_type, requirement
from flowc.plan.types.variables import Conflict, is_open, solve, substitute

__all__ = [
    "ANY",
    "BUILTIN",
    "DTYPES",
    "NONE",
    "NOTES",
    "RECORD",
    "UNION",
    "Arg",
    "Classes",
    "Conflict",
    "Scalar",
    "Type",
    "TypeSyntaxError",
    "assignable",
    "columns_of",
    "convert",
    "is_live",
    "is_open",
    "is_sound",
    "is_variable",
    "parse",
    "parse_text",
    "plain",
    "python_type",
    "requirement",
    "solve",
    "substitute",
    "type_of_scalar",
    "union",
    "violation",
]
