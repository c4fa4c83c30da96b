"""Type variables: binding `'T` by the arguments of a call, and writing the bindings into other types.

Dimensions of tensors are variables, too. Those that nothing binds become `Any`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping

import msgspec

from flowc.plan.types.expressions import ANY, NONE, UNION, Arg, Type, is_variable, union
from flowc.plan.types.fits import Classes, align, ancestors, assignable, variance

Bindings = Mapping[str, Arg]
_Found = tuple[str, Arg, str]  # a variable, what stands at its place, and "+" or "-"


class Conflict(msgspec.Struct, frozen=True):
    """A variable that two arguments bind to types of which neither goes where the other is expected."""

    variable: str
    first: str  # the parameter
    first_type: Arg
    second: str
    second_type: Arg


@functools.lru_cache(maxsize=4096)
def is_open(of: Type) -> bool:
    """Whether a variable occurs in the type."""
    return is_variable(of) or any(is_open(arg) for arg in of.args if isinstance(arg, Type))


def substitute(of: Type, bindings: Bindings, classes: Classes | None = None) -> Type:
    """The type with its variables replaced; a variable without a binding becomes `Any`."""
    found = _replaced(of, bindings, classes)
    return found if isinstance(found, Type) else ANY  # only a dimension is bound to a number


def _replaced(of: Arg, bindings: Bindings, classes: Classes | None) -> Arg:
    if not isinstance(of, Type) or not (of.args or is_variable(of)):
        return of
    if is_variable(of):
        found = bindings.get(of.name, ANY)
        # A variable with a bound: what is beyond it does not fit the bound that then stands there.
        bound = of.args[0] if of.args else ANY
        beyond = isinstance(found, Type) and isinstance(bound, Type) and not assignable(found, bound, classes)
        return bound if beyond else found
    args = tuple(_replaced(arg, bindings, classes) for arg in of.args)
    if of.name == UNION:
        return union([arg for arg in args if isinstance(arg, Type)])
    return msgspec.structs.replace(of, args=args)


def solve(
    takes: Mapping[str, Type], given: Mapping[str, Type], classes: Classes
) -> tuple[dict[str, Arg], list[Conflict]]:
    """What the variables of a signature stand for in a call with arguments of these types, by variable.

    Of several types the one is taken where the others may go as well: `float` for an `int` and a `float`.
    What is known of a place that a value goes into (the columns that a model needs) counts only for variables
    that no value binds.
    """
    bindings: dict[str, Arg] = {}
    by: dict[str, str] = {}
    conflicts: list[Conflict] = []
    found = [
        (parameter, *each)
        for parameter, got in given.items()
        if parameter in takes and is_open(takes[parameter])
        for each in _matches(takes[parameter], got, classes)
    ]
    bound_by_values = {variable for _, variable, _, sign in found if sign == "+"}
    for parameter, variable, got, sign in found:
        if got == ANY or (sign == "-" and variable in bound_by_values):
            bindings.setdefault(variable, ANY)
            continue
        known = bindings.get(variable, ANY)
        wider = _wider(known, got, classes) if sign == "+" else _wider(got, known, classes, narrower=True)
        if known == ANY:
            bindings[variable], by[variable] = got, parameter
        elif wider is None:
            conflicts.append(Conflict(variable[1:], by[variable], known, parameter, got))
        else:
            bindings[variable] = wider
    return bindings, conflicts


def _wider(known: Arg, got: Arg, classes: Classes, narrower: bool = False) -> Arg | None:
    """Of two types the one where both may go, or the one that goes for both; `None` if there is none."""
    if not isinstance(known, Type) or not isinstance(got, Type):
        return known if known == got else None
    if assignable(got, known, classes):
        return got if narrower else known
    if assignable(known, got, classes):
        return known if narrower else got
    return None


def _matches(want: Type, got: Type, classes: Classes, sign: str = "+") -> Iterator[_Found]:
    """What stands in `got` where `want` has variables."""
    if is_variable(want):
        yield want.name, got, sign
    elif got.name == UNION and want.name != UNION:
        for member in got.args:
            if isinstance(member, Type):
                yield from _matches(want, member, classes, sign)
    elif want.name == UNION:
        yield from _matches_of_union(want, got, classes, sign)
    elif want.keys:
        have = got.fields
        for key, of in want.fields.items():
            if key in have:
                yield from _matches(of, have[key], classes, sign)
    elif want.name == "Tensor" and got.name == "Tensor":
        yield from _matches_of_tensor(want, got, classes, sign)
    elif want.name == got.name or want.name in ancestors(got.name, classes):
        signs = variance(want.name, len(want.args), classes)
        for inner_want, inner_got, inner in zip(want.args, got.args, signs, strict=False):
            if isinstance(inner_want, Type) and isinstance(inner_got, Type):
                flipped = _FLIPPED[sign] if inner == "-" else sign
                yield from _matches(inner_want, inner_got, classes, flipped)


def _matches_of_union(want: Type, got: Type, classes: Classes, sign: str) -> Iterator[_Found]:
    """What closed members do not take is for the others: `T` of `T | None` is `int` for an `int | None`."""
    members = [m for m in want.args if isinstance(m, Type)]
    closed = [m for m in members if not is_open(m)]
    parts = got.args if got.name == UNION else (got,)
    left = [
        part
        for part in parts
        if isinstance(part, Type) and not any(assignable(part, m, classes) for m in closed)
    ]
    if not left and got != NONE:
        left = [part for part in parts if isinstance(part, Type) and part.name == "Any"]
    for member in members:
        if is_open(member) and left:
            yield from _matches(member, union(left), classes, sign)


def _matches_of_tensor(want: Type, got: Type, classes: Classes, sign: str) -> Iterator[_Found]:
    dtypes = want.args[:1], got.args[:1]
    for w, g in zip(*dtypes, strict=False):
        if isinstance(w, Type) and isinstance(g, Type):
            yield from _matches(w, g, classes, sign)
    for have, dim in align(got.args[1:], want.args[1:]) or ():
        if isinstance(dim, Type) and is_variable(dim):
            yield dim.name, have, sign


_FLIPPED = {"+": "-", "-": "+"}
