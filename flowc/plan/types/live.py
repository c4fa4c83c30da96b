"""What only a run can tell: whether arrays have the shapes, and data sets the columns, that are declared.

Values are looked at through what arrays have, `dtype` and `shape`, and through `__flow_columns__()`, a method
that gives the dtype of each column by name, so that nothing heavy needs to be imported.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from typing import Any

from flowc.plan.types.expressions import ANY, UNION, Type, is_variable
from flowc.plan.types.fits import align, assignable, columns_of

_KINDS = {"U": "str", "S": "bytes", "b": "bool"}


@functools.lru_cache(maxsize=1024)
def is_live(of: Type) -> bool:
    """Whether values of the type have something that is checked here."""
    inner = any(is_live(arg) for arg in of.args if isinstance(arg, Type))
    return inner or of.name == "Tensor" or columns_of(of) is not None or of.note("column_of") is not None


def violation(value: Any, of: Type, sizes: dict[str, int], arguments: Mapping[str, Any]) -> str:
    """What is wrong with a value, as a sentence without its subject; empty if nothing is.

    `sizes` are those of the dimensions that have a name, within one call; those met first are noted there.
    `arguments` are all of the call, where the data set lies that a name must be a column of.
    """
    if value is None or not is_live(of):
        return ""
    if of.name == UNION:
        members = [arg for arg in of.args if isinstance(arg, Type)]
        found = [violation(value, member, dict(sizes), arguments) for member in members]
        return "" if "" in found else found[0]
    if of.name == "Tensor":
        return _of_tensor(value, of, sizes)
    inner = [arg for arg in of.args if isinstance(arg, Type)]
    if of.name in ("list", "set") and inner:
        return _first_of(((f"item {i}", part) for i, part in enumerate(value)), inner[0], sizes, arguments)
    if of.name == "dict" and len(inner) == 2:
        return _first_of(((f"`{key}`", part) for key, part in value.items()), inner[1], sizes, arguments)
    if of.note("column_of") is not None:
        return _of_column(value, of, arguments)
    wanted, have = columns_of(of), _columns(value)
    for name, dtype in wanted.items() if wanted is not None and have is not None else ():
        if have is not None and not (name in have and assignable(have[name], dtype)):
            got = f"has `{have[name].short()}` there" if name in have else "does not have it"
            return f"must have the column `{name}: {dtype.short()}`, and {got}"
    return ""


def _first_of(
    parts: Iterable[tuple[str, Any]], of: Type, sizes: dict[str, int], arguments: Mapping[str, Any]
) -> str:
    """The first thing that is wrong with some parts, each given with its name."""
    for name, part in parts:
        found = violation(part, of, sizes, arguments)
        if found:
            return f"in {name} {found}"
    return ""


def _of_tensor(value: Any, of: Type, sizes: dict[str, int]) -> str:
    if not of.args or not hasattr(value, "dtype"):
        return ""
    dtype, shape = of.args[0], tuple(value.shape)
    got = f"is `{_dtype(value.dtype).short()}` {list(shape)}"
    if isinstance(dtype, Type) and not is_variable(dtype) and not assignable(_dtype(value.dtype), dtype):
        return f"must be `{of.short()}`, and {got}"
    if len(of.args) == 1:
        return ""
    pairs = align(shape, of.args[1:])
    if pairs is None:
        return f"must be `{of.short()}`, and {got}"
    for size, want in pairs:
        if isinstance(want, Type) and is_variable(want) and isinstance(size, int):
            want = sizes.setdefault(want.name, size)
            if want != size:
                return f"must be `{of.short()}` with {want} where it has {size}, and {got}"
        elif isinstance(want, int) and size != want:
            return f"must be `{of.short()}`, and {got}"
    return ""


def _of_column(value: Any, of: Type, arguments: Mapping[str, Any]) -> str:
    have = _columns(arguments.get(str(of.note("column_of"))))
    if have is None or value in have:
        return ""
    return f"must be a column of `{of.note('column_of')}`, which has no `{value}`"


def _columns(value: Any) -> dict[str, Type] | None:
    """The columns that a data set says it has; `None` if it says nothing."""
    ask = getattr(value, "__flow_columns__", None)
    return {name: _dtype(dtype) for name, dtype in ask().items()} if ask is not None else None


def _dtype(dtype: Any) -> Type:
    """A numpy dtype, or its name, as a type."""
    name = getattr(dtype, "name", dtype)
    if name in ("", "object"):
        return ANY
    if name.startswith("datetime64"):
        return Type("date" if name == "datetime64[D]" else "datetime")
    return Type(_KINDS.get(getattr(dtype, "kind", ""), "str" if name.startswith("str") else name))
