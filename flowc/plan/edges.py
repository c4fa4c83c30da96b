"""The types of argument trees, and whether they fit the parameters they are given to.

One rule for both ends: the compiler checks the calls that it traces with it, and the codec the plans that it
reads.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import msgspec

from flowc.plan.model import Input, InputRef, Node, Ref, Site, Structure, as_reference, site_of
from flowc.plan.types import (
    ANY,
    UNION,
    Classes,
    Conflict,
    Type,
    assignable,
    columns_of,
    convert,
    is_open,
    parse,
    solve,
    substitute,
    type_of_scalar,
    union,
)

Path = tuple[str | int, ...]
TypeOf = Callable[[Ref | InputRef], Type]

# No literal is a value of one of these.
_NOT_WRITTEN = ("Tensor", "Dataset", "FeatureSet", "Model", "Predictions")


class Mismatch(msgspec.Struct, frozen=True):
    """A part of an argument tree that does not fit: where (indexes and keys), what it is, what was wanted."""

    path: tuple[int | str, ...]
    got: Type
    want: Type
    part: Any  # the part itself: a reference as a mapping, or a literal

    @property
    def where(self) -> str:
        """The path as it is written: `[0]['train']`."""
        return _written(self.path)


class NoColumn(msgspec.Struct, frozen=True):
    """A name given as that of a column, of a data set that has none of the name, or of another type."""

    path: tuple[int | str, ...]
    column: str
    of: str  # the parameter that takes the data set
    columns: dict[str, Type]
    want: Type  # `Any` if any type will do

    @property
    def where(self) -> str:
        """The path as it is written: `[0]`."""
        return _written(self.path)


Wrong = Mismatch | NoColumn | Conflict


class Results:
    """The types of inputs and of what nodes give. `sites` and `classes` may grow while it is in use.

    Where the type of a result depends on the arguments (`first(items: list[T]) -> T`), each node is bound
    before its type is asked for.
    """

    def __init__(self, sites: Mapping[str, Site], inputs: Mapping[str, Input], classes: Classes) -> None:
        self.sites = sites
        self.inputs = inputs
        self.classes = classes
        self._bound: dict[str, Type] = {}
        self._known: dict[Ref, Type] = {}
        self._takes: dict[str, dict[str, Type]] = {}  # of a site, what is open
        self._gives: dict[Hashable, Type] = {}  # what calls with arguments of the same types give

    def __call__(self, ref: Ref | InputRef) -> Type:
        """The type of a value, or of the part that a reference selects; `KeyError(name)` if it has none."""
        if isinstance(ref, InputRef):
            return select(parse(self.inputs[ref.input].type), ref.at, self.classes)
        if self._known and ref in self._known:
            return self._known[ref]
        bound = self._bound.get(ref.source)
        if bound is None:
            bound = parse(self.sites[site_of(ref.source)].gives)
        return select(bound, ref.at, self.classes)

    def note(self, ref: Ref, of: Type) -> None:
        """Note what a result of a node is that is not there to be bound."""
        self._known[ref] = of

    def bind(self, node: Node) -> Type:
        """Note and return what a node of a generic operator gives, by what it is given."""
        site = self.sites[node.site]
        takes = self._takes.get(site.site)
        if takes is None:
            takes = {name: of for name, of in ((n, parse(t)) for n, t in site.takes.items()) if is_open(of)}
            self._takes[site.site] = takes
        types = given(node.args, takes, self)
        key = (site.site, *types.items())
        found = self._gives.get(key)
        if found is None:
            bindings, _ = solve(takes, types, self.classes)
            found = self._gives[key] = substitute(parse(site.gives), bindings, self.classes)
        self._bound[node.id] = found
        return found


def signature(tree: Any, type_of: TypeOf) -> Hashable:
    """All of an argument that decides whether it fits: its literals, and the types of its references."""
    if isinstance(tree, list):
        return tuple(signature(part, type_of) for part in tree)
    if isinstance(tree, dict):
        if "map" not in tree:
            return type_of(as_reference(tree))
        return tuple((key, signature(part, type_of)) for key, part in tree["map"].items())
    return type(tree), tree  # to Python, `True` equals 1


def is_generic(site: Site) -> bool:
    """Whether the types of a call depend on its arguments: on their types, or on names of columns."""
    return any("'" in of or "column_of" in of for of in (site.gives, *site.takes.values()))


def select(of: Type, path: Path, structures: Mapping[str, Structure]) -> Type:
    """The type of a part of a value of type `of`; `KeyError(step)` if it has no such field or item."""
    for step in path:
        if of.name in structures and isinstance(step, str):
            structure = structures[of.name]
            found = parse(structure.fields[step])
            if structure.parameters:
                variables = (f"'{parameter.lstrip('-')}" for parameter in structure.parameters)
                found = substitute(found, dict(zip(variables, of.args, strict=False)))
            of = found
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


def wrong_in_call(
    args: Mapping[str, Any], takes: Mapping[str, Type], type_of: TypeOf, classes: Classes
) -> Iterator[tuple[str, Wrong]]:
    """All that is wrong with the arguments of one call of a generic operator, each with its parameter."""
    types = given(args, takes, type_of)
    bindings, conflicts = solve(takes, types, classes)
    for conflict in conflicts:
        yield conflict.second, conflict
    bad = {conflict.second for conflict in conflicts}
    wants = {name: substitute(takes[name], bindings, classes) for name in args if name in takes}
    for parameter, want in wants.items():
        wrong = mismatches(args[parameter], want, type_of, classes) if parameter not in bad else []
        yield from ((parameter, found) for found in wrong)
        bad |= {parameter} if wrong else set()
    sound = {name: tree for name, tree in args.items() if name not in bad}
    for parameter, want in wants.items():
        if parameter in sound:
            missing = _columns_missing(sound[parameter], want, sound, type_of, ())
            yield from ((parameter, found) for found in missing)


def given(args: Mapping[str, Any], takes: Mapping[str, Type], type_of: TypeOf) -> dict[str, Type]:
    """The types of the arguments that go where a variable is."""
    return {
        parameter: type_of_tree(args[parameter], type_of)
        for parameter, of in takes.items()
        if parameter in args and is_open(of)
    }


def mismatches(
    tree: Any, want: Type, type_of: TypeOf, classes: Classes, path: tuple[int | str, ...] = ()
) -> list[Mismatch]:
    """Every part of `tree` that does not fit `want`. Literals are checked by value, references by type."""
    if want.name == UNION and isinstance(tree, (list, dict)):
        for member in want.args:
            if isinstance(member, Type) and not mismatches(tree, member, type_of, classes):
                return []
    parts = _parts_and_types(tree, want, classes)
    if parts is not None:
        found = [
            wrong
            for step, part, member in parts
            for wrong in mismatches(part, member, type_of, classes, (*path, step))
        ]
        if found or not want.notes or not _is_literal(tree):
            return found
        return [] if _fits(_written_out(tree), want, classes) else [Mismatch(path, want, want, tree)]
    if isinstance(tree, (list, dict)) and _is_opaque(want, classes) and _is_literal(tree):
        return []  # the parts of a value, or none: only who loads the class can tell
    got = type_of_tree(tree, type_of)
    if isinstance(tree, (str, int, float, bool, type(None))):
        return [] if _fits(tree, want, classes) else [Mismatch(path, got, want, tree)]
    return [] if assignable(got, want, classes) else [Mismatch(path, got, want, tree)]


def _parts_and_types(tree: Any, want: Type, classes: Classes) -> list[tuple[int | str, Any, Type]] | None:
    """The parts of a list or a mapping, each with what is wanted there; `None`: it is to be judged whole."""
    wanted = [arg for arg in want.args if isinstance(arg, Type)]
    if isinstance(tree, list) and want.name in ("list", "set"):
        return [(i, part, wanted[0]) for i, part in enumerate(tree)] if wanted else []
    if isinstance(tree, list) and want.name == "tuple" and (not wanted or len(wanted) == len(tree)):
        return [(i, part, member) for i, (part, member) in enumerate(zip(tree, wanted, strict=False))]
    structure = classes.get(want.name)
    if isinstance(tree, list) and structure is not None and len(tree) == len(structure.positional) > 0:
        return [(i, tree[i], select(want, (name,), classes)) for i, name in enumerate(structure.positional)]
    if not isinstance(tree, dict) or "map" not in tree:
        return None
    fields = tree["map"]
    if want.name == "Metrics":
        return [(key, part, Type("float")) for key, part in fields.items()]
    if want.name == "dict" and len(wanted) == 2:
        return [(key, part, wanted[1]) for key, part in fields.items()]
    if structure is None or not structure.fields or structure.positional:
        return None
    needed = structure.fields.keys() - structure.defaults.keys() - set(structure.optional)
    if not needed <= fields.keys() <= structure.fields.keys():
        return None
    return [(key, part, select(want, (key,), classes)) for key, part in fields.items()]


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


def _columns_missing(
    tree: Any,
    want: Type,
    args: Mapping[str, Any],
    type_of: TypeOf,
    path: tuple[int | str, ...],
) -> Iterator[NoColumn]:
    """The names in a literal that should be columns of the data set in another argument, and are not."""
    members = [arg for arg in want.args if isinstance(arg, Type)]
    if isinstance(tree, list) and members:
        for i, part in enumerate(tree):
            yield from _columns_missing(part, members[0], args, type_of, (*path, i))
    if want.name == UNION:
        want = next((member for member in members if member.note("column_of")), want)
    of = want.note("column_of")
    if not isinstance(tree, str) or not isinstance(of, str) or of not in args:
        return
    columns = columns_of(type_of_tree(args[of], type_of))
    if columns is None:  # not known before the run
        return
    noted = want.note("column_type")
    wanted = parse(noted) if isinstance(noted, str) else ANY
    if tree not in columns or not assignable(columns[tree], wanted):
        yield NoColumn(path, tree, of, columns, wanted)


def _fits(value: Any, want: Type, classes: Classes) -> bool:
    if want.name == UNION:
        return any(_fits(value, member, classes) for member in want.args if isinstance(member, Type))
    if want.name in _NOT_WRITTEN:
        return False
    if ":" in want.name and value is None:
        return False
    try:
        convert(value, want, classes)
    except msgspec.ValidationError:
        return False
    return True


def _is_opaque(of: Type, classes: Classes) -> bool:
    """Whether it is a class that the plan says nothing of but its name."""
    known = classes.get(of.name)
    return ":" in of.name and (known is None or not (known.fields or known.values))


def _is_literal(tree: Any) -> bool:
    """Whether an argument tree is all written out, without references."""
    if isinstance(tree, list):
        return all(map(_is_literal, tree))
    if isinstance(tree, dict):
        return "map" in tree and all(map(_is_literal, tree["map"].values()))
    return True


def _written_out(tree: Any) -> Any:
    """The value of a literal."""
    if isinstance(tree, list):
        return [_written_out(part) for part in tree]
    if isinstance(tree, dict):
        return {key: _written_out(part) for key, part in tree["map"].items()}
    return tree


def _written(path: tuple[int | str, ...]) -> str:
    return "".join(f"[{step!r}]" for step in path)
