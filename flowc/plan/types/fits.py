"""What may go where."""

from __future__ import annotations

import math
from collections.abc import Mapping

from flowc.plan.model import Structure
from flowc.plan.types.expressions import RECORD, UNION, Arg, Scalar, Type, is_variable, type_of_scalar

Classes = Mapping[str, Structure]  # what the plan says of classes, by name

# A value of these is one of those, too.
_BASES = {"FeatureSet": ("Dataset",), "Metrics": ("dict",), "datetime": ()}
# A model may go where one is expected that needs more columns: its inputs are contravariant.
_VARIANCE = {"Model": "-+"}


def assignable(source: Type, target: Type, classes: Classes | None = None) -> bool:
    """Whether a value of type `source` may go where `target` is expected.

    Containers are covariant (values are immutable once stored), `int` goes where `float` is expected, a
    class where one of its bases is, a record where one with fewer fields is, and `Any` goes both ways. A
    bound forbids only what can never hold: an `int` may turn out to be from 1 to 100.
    """
    classes = classes or {}
    if "Any" in (source.name, target.name) or is_variable(target) or is_variable(source):
        return True
    if source.name == UNION:
        return all(assignable(m, target, classes) for m in source.args if isinstance(m, Type))
    if source.name == "Literal":
        return all(_admits(target, arg, classes) for arg in source.args if not isinstance(arg, Type))
    if target.name == UNION:
        return any(assignable(source, m, classes) for m in target.args if isinstance(m, Type))
    if not _may_overlap(source, target):
        return False
    if source.name == "int" and target.name == "float":
        return True
    if source.name == RECORD and target.name == RECORD:
        have = source.fields
        return all(key in have and assignable(have[key], of, classes) for key, of in target.fields.items())
    if source.name == "Tensor" and target.name == "Tensor":
        return _tensor_fits(source.args, target.args, classes)
    if source.name == "Metrics" and target.name == "dict":
        return assignable(Type("dict", (Type("str"), Type("float"))), target, classes)
    if source.name != target.name and target.name not in ancestors(source.name, classes):
        return False
    if not source.args or not target.args:  # `list` is `list[Any]`
        return True
    if len(source.args) != len(target.args):
        return source.name != target.name  # a class hands on its parameters only if it has as many
    signs = variance(target.name, len(target.args), classes)
    return all(
        assignable(t, s, classes) if sign == "-" else assignable(s, t, classes)
        for s, t, sign in zip(source.args, target.args, signs, strict=True)
        if isinstance(s, Type) and isinstance(t, Type)
    )


def variance(name: str, count: int, classes: Classes) -> str:
    """For each of the `count` parameters of a class `-` if it is contravariant, else `+`."""
    if name in classes and len(classes[name].parameters) == count:
        return "".join("-" if p.startswith("-") else "+" for p in classes[name].parameters)
    known = _VARIANCE.get(name, "")
    return known if len(known) == count else "+" * count


def ancestors(name: str, classes: Classes) -> set[str]:
    """All bases of a class, theirs included; an edited plan may even have circles of them."""
    found: set[str] = set()
    todo = [name]
    while todo:
        base = todo.pop()
        for above in (*_BASES.get(base, ()), *(classes[base].bases if base in classes else ())):
            if above not in found:
                found.add(above)
                todo.append(above)
    return found


def columns_of(of: Type) -> dict[str, Type] | None:
    """The columns of a data set, by name: its first parameter, if that is a record; `None`: not known."""
    record = of.args[0] if of.args else None
    return record.fields if isinstance(record, Type) and record.name == RECORD else None


def _tensor_fits(source: tuple[Arg, ...], target: tuple[Arg, ...], classes: Classes) -> bool:
    if not source or not target:
        return True
    dtypes = source[0], target[0]
    if all(isinstance(d, Type) for d in dtypes) and not assignable(*dtypes, classes):  # type: ignore[arg-type]
        return False
    have, want = source[1:], target[1:]
    if not have or not want:  # `Tensor[float32]`: of any shape
        return True
    pairs = align(have, want)
    return pairs is not None and all(
        not (isinstance(h, int) and isinstance(w, int)) or h == w for h, w in pairs
    )


def align(have: tuple[Arg, ...], want: tuple[Arg, ...]) -> list[tuple[Arg, Arg]] | None:
    """The dimensions of two shapes side by side, last ones together at `...`; `None` if ranks differ."""
    for rest in (have, want):
        if Type("...") in rest:
            at = rest.index(Type("..."))
            tail = len(rest) - at - 1
            if (
                len(have) < at + tail
                or len(want) < at + tail
                or (Type("...") in have and Type("...") in want)
            ):
                return [] if Type("...") in have and Type("...") in want else None
            ends = [(have[i - tail], want[i - tail]) for i in range(tail)]
            return [*zip(have[:at], want[:at], strict=True), *ends]
    return list(zip(have, want, strict=True)) if len(have) == len(want) else None


def _may_overlap(source: Type, target: Type) -> bool:
    """Whether some number is within the bounds of both."""
    if not source.notes or not target.notes:
        return True
    (low_s, high_s), (low_t, high_t) = _range(source), _range(target)
    return max(low_s, low_t) <= min(high_s, high_t)


def _range(of: Type) -> tuple[float, float]:
    """The least and the greatest number that a type admits; open ends as if they were closed."""
    notes = {name: value for name, value in of.notes if isinstance(value, (int, float))}
    low = max(notes.get("ge", -math.inf), notes.get("gt", -math.inf))
    return low, min(notes.get("le", math.inf), notes.get("lt", math.inf))


def _admits(target: Type, scalar: Scalar, classes: Classes) -> bool:
    """Whether one value of a `Literal` may go where `target` is expected."""
    if target.name == UNION:
        return any(_admits(member, scalar, classes) for member in target.args if isinstance(member, Type))
    if target.name == "Literal":  # to Python, `True` equals 1
        return (type(scalar), scalar) in [(type(arg), arg) for arg in target.args]
    return assignable(type_of_scalar(scalar), target, classes)
