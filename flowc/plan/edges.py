"""The types of argument trees, and whether they fit the parameters they are given to.

One rule for both ends: the compiler checks the calls that it traces with it, and the codec the plans that it
reads.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from flowc.plan.model import InputRef, Ref, Structure, as_reference
from flowc.plan.types import ANY, Bases, Type, assignable, convert, parse, type_of_scalar, union

Path = tuple[str | int, ...]
TypeOf = Callable[[Ref | InputRef], Type]


class Mismatch(msgspec.Struct, frozen=True):
    """A part of an argument tree that does not fit: where (indexes and keys), what it is, what was wanted."""

    path: tuple[int | str, ...]
    got: Type
    want: Type
    part: Any  # the part itself: a reference as a mapping, or a literal

    @property
    def where(self) -> str:
        """The path as it is written: `[0]['train']`."""
        return "".join(f"[{step!r}]" for step in self.path)


def select(of: Type, path: Path, structures: Mapping[str, Structure]) -> Type:
    """The type of a part of a value of type `of`; `KeyError(step)` if it has no such field or item."""
    for step in path:
        if of.name in structures and isinstance(step, str):
            of = parse(structures[of.name].fields[step])
        elif of.name == "Any":
            return ANY
        elif of.name == "list" and isinstance(step, int):
            of = of.args[0] if of.args and isinstance(of.args[0], Type) else ANY
        else:
            raise KeyError(step)
    return of


def positions(of: Type, path: Path, structures: Mapping[str, Structure]) -> tuple[str | int, ...]:
    """A path of field names as it is stored: by position where the value is a NamedTuple."""
    found: list[str | int] = []
    for i, step in enumerate(path):
        structure = structures.get(select(of, path[:i], structures).name)
        named = structure is not None and structure.positional and isinstance(step, str)
        found.append(structure.positional.index(step) if structure and named else step)
    return tuple(found)


def mismatches(
    tree: Any,
    want: Type,
    type_of: TypeOf,
    bases: Bases,
    records: Mapping[str, Structure],
    path: tuple[int | str, ...] = (),
) -> list[Mismatch]:
    """Every part of `tree` that does not fit `want`. Literals are checked by value, references by type.

    `records` are the classes with fields: a map with just these is one, no scalar is, while that may well be
    an Enum or a path. A NamedTuple is written as a list.
    """
    if want.name == "|" and isinstance(tree, (list, dict)):
        for member in want.args:
            if isinstance(member, Type) and not mismatches(tree, member, type_of, bases, records):
                return []
    if isinstance(tree, list) and want.name in ("list", "tuple", "set"):
        if not want.args:
            return []
        members = want.args * len(tree) if want.name != "tuple" else want.args
        if want.name == "tuple" and len(members) != len(tree):
            return [Mismatch(path, type_of_tree(tree, type_of), want, tree)]
        return [
            found
            for i, (part, member) in enumerate(zip(tree, members, strict=False))
            if isinstance(member, Type)
            for found in mismatches(part, member, type_of, bases, records, (*path, i))
        ]
    if isinstance(tree, dict) and "map" in tree and want.name == "dict" and len(want.args) == 2:
        member = want.args[1]
        assert isinstance(member, Type)
        return [
            found
            for key, part in tree["map"].items()
            for found in mismatches(part, member, type_of, bases, records, (*path, key))
        ]
    members_of = _fields(tree, records[want.name]) if want.name in records else None
    if members_of is not None:
        return [
            found
            for name, part, member in members_of
            for found in mismatches(part, parse(member), type_of, bases, records, (*path, name))
        ]
    got = type_of_tree(tree, type_of)
    if isinstance(tree, (str, int, float, bool, type(None))):
        return [] if _fits(tree, want, records) else [Mismatch(path, got, want, tree)]
    return [] if assignable(got, want, bases) else [Mismatch(path, got, want, tree)]


def _fields(tree: Any, record: Structure) -> list[tuple[int | str, Any, str]] | None:
    """The parts of a tree that is written as a record is, each with its type; `None` if it is not."""
    types = [*record.fields.values()]
    if isinstance(tree, list) and record.positional and len(tree) == len(types):
        return [(i, part, of) for i, (part, of) in enumerate(zip(tree, types, strict=True))]
    if isinstance(tree, dict) and "map" in tree and not record.positional:
        parts = tree["map"]
        if parts.keys() == record.fields.keys():
            return [(name, part, record.fields[name]) for name, part in parts.items()]
    return None


def type_of_tree(tree: Any, type_of: TypeOf) -> Type:
    """The type of an argument tree."""
    if isinstance(tree, list):
        return (
            Type("list", (union([type_of_tree(part, type_of) for part in tree]),)) if tree else Type("list")
        )
    if isinstance(tree, dict):
        if "map" not in tree:
            return type_of(as_reference(tree))
        parts = [type_of_tree(part, type_of) for part in tree["map"].values()]
        return Type("dict", (Type("str"), union(parts))) if parts else Type("dict")
    return type_of_scalar(tree)


def _fits(value: Any, want: Type, records: Mapping[str, Structure]) -> bool:
    if want.name == "|":
        return any(_fits(value, member, records) for member in want.args if isinstance(member, Type))
    if ":" in want.name:  # only the worker can tell more
        return value is not None and want.name not in records
    try:
        convert(value, want)
    except msgspec.ValidationError:
        return False
    return True
