"""Simplification: a plan that computes the same with fewer nodes.

Three passes, each a function from a plan to a plan: constants are computed now, equal calls become one, and
calls that nothing uses go. They touch only `deterministic` operators, which promise to give the same for the
same arguments and to do nothing else. Each is linear in the plan, and a plan without such operators is given
back as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flowc.plan.edges import mismatches
from flowc.plan.graph import waited_for
from flowc.plan.model import Node, Plan, Site, Structure, sources_of
from flowc.plan.types import ANY, Type, convert, parse

MAX_CONSTANT_BYTES = 4096
_PLAIN = {"None", "bool", "int", "float", "str", "list", "dict", "|", "Literal"}
_encode = msgspec.json.Encoder(order="deterministic").encode

Compute = Callable[[Node, str, Mapping[str, Any]], Any]  # the result of a node's operator for some arguments


class NoConstant(Exception):
    """A call does not give something that may stand in a plan, or gives nothing at all."""


class Simplified(msgspec.Struct, frozen=True):
    """What was done, in plan order: nodes removed, nodes and the ones that stand for them, and constants."""

    removed: Sequence[str] = ()
    shared: Mapping[str, str] = {}
    folded: Mapping[str, Any] = {}


def simplify(plan: Plan, compute: Compute, foldable: Container[str] = ()) -> tuple[Plan, Simplified]:
    """Apply all simplifications. `foldable` are the operators that `compute` may call at compile time."""
    if not any(site.deterministic for site in plan.sites):
        return plan, Simplified()
    plan, folded = fold_constants(plan, compute, foldable)
    plan, shared = share_equal(plan)
    plan, removed = remove_dead(plan)
    # Told once: a constant is not news again for having become superfluous.
    removed = [name for name in removed if name not in folded]
    told = {name: by for name, by in shared.items() if name not in folded}
    return plan, Simplified(removed, told, folded)


def dead_nodes(plan: Plan) -> list[str]:
    """The nodes that could go: deterministic, and no node that stays waits for them, nor the result.

    An operator that gives nothing is called for something else: to raise an exception, if not for an effect.
    """
    if not any(site.deterministic for site in plan.sites):
        return []
    removable = {site.site for site in plan.sites if _does_nothing(site)}
    needed = set(sources_of(plan.header.result))
    dead = []
    for node in reversed(plan.nodes):
        if node.id in needed or node.site not in removable:
            needed |= waited_for(node)
        else:
            dead.append(node.id)
    dead.reverse()
    return dead


def remove_dead(plan: Plan) -> tuple[Plan, list[str]]:
    """The plan without its dead nodes, and the dead nodes, control nodes not counted."""
    dead = set(dead_nodes(plan))
    if not dead:
        return plan, []
    plain = {site.site for site in plan.sites if site.deterministic}
    removed = [node.id for node in plan.nodes if node.id in dead and node.site in plain]
    return _with_nodes(plan, [node for node in plan.nodes if node.id not in dead]), removed


def share_equal(plan: Plan) -> tuple[Plan, dict[str, str]]:
    """One node for all equal calls of a deterministic operator: the first, which keeps its id.

    Equal are calls of the same code with the same arguments under the same branches. What is shared is waited
    for instead of what it replaces; calls that themselves wait for something without taking it stay.
    """
    kinds = {site.site: _kind(site) for site in plan.sites if site.deterministic}
    first: dict[tuple[Any, ...], str] = {}
    stands_for: dict[str, str] = {}
    nodes = []
    for node in plan.nodes:
        if stands_for:
            node = _redirected(node, stands_for)
        kind = kinds.get(node.site)
        if kind is not None and not node.after:
            call = (kind, _encode(node.args), node.when, node.unless)
            known = first.setdefault(call, node.id)
            if known != node.id:
                stands_for[node.id] = known
                continue
        nodes.append(node)
    if not stands_for:
        return plan, {}
    result = substitute(plan.header.result, lambda ref: _moved(ref, stands_for))
    header = msgspec.structs.replace(plan.header, result=result)
    return _with_nodes(msgspec.structs.replace(plan, header=header), nodes), stands_for


def fold_constants(plan: Plan, compute: Compute, foldable: Container[str]) -> tuple[Plan, dict[str, Any]]:
    """The plan with constants for the results of foldable operators whose arguments are all known.

    Their nodes stay, dead, where nothing else needs them. `compute` raises `NoConstant` for what is to be
    left to the run. A constant is small, plain JSON of a plain type, and is put only where its value fits;
    control nodes keep their references.
    """
    sites = {site.site: site for site in plan.sites}
    candidates = {name for name, site in sites.items() if site.op in foldable and _is_plain(site)}
    constants: dict[str, Any] = {}
    if not candidates:
        return plan, constants
    nodes = []
    for node in plan.nodes:
        site = sites[node.site]
        if constants and site.control == "none":
            node = _with_constants(node, site, constants)
        if node.site in candidates and _is_known(node):
            arguments = {name: value_of(tree) for name, tree in node.args.items()}
            try:
                types = {name: parse(site.takes[name]) for name in arguments}
                values = {name: convert(value, types[name]) for name, value in arguments.items()}
                constants[node.id] = constant(compute(node, site.op, values), parse(site.gives))
            except (NoConstant, msgspec.ValidationError):
                pass
        nodes.append(node)
    if not constants:
        return plan, constants
    header = msgspec.structs.replace(plan.header, result=_folded(plan.header.result, constants))
    return msgspec.structs.replace(plan, header=header, nodes=tuple(nodes)), constants


def constant(value: Any, of: Type) -> Any:
    """The argument tree of a value that was computed while compiling; `NoConstant` if it must not be one."""
    tree = _literal(value)
    if len(_encode(tree)) > MAX_CONSTANT_BYTES:
        raise NoConstant("it is too large")
    convert(value, of)
    return tree


def value_of(tree: Any) -> Any:
    """The value of an argument tree without references."""
    if isinstance(tree, list):
        return [value_of(part) for part in tree]
    if isinstance(tree, dict):
        return {key: value_of(part) for key, part in tree["map"].items()}
    return tree


def substitute(tree: Any, replace: Callable[[dict[str, Any]], Any]) -> Any:
    """An argument tree with each reference to a node replaced. It is never deep, whatever the graph."""
    if isinstance(tree, list):
        return [substitute(part, replace) for part in tree]
    if isinstance(tree, dict):
        if "map" in tree:
            return {"map": {key: substitute(part, replace) for key, part in tree["map"].items()}}
        return replace(tree) if "from" in tree else tree
    return tree


def _does_nothing(site: Site) -> bool:
    """Whether all that a site's nodes do is to give their results."""
    if site.control in ("branch", "choose"):
        return True
    return site.deterministic and site.gives not in ("None", "list[None]")


def _kind(site: Site) -> tuple[Any, ...]:
    """What is computed, arguments aside."""
    return (site.op, site.code, site.control, site.each, site.key)


def _moved(ref: dict[str, Any], stands_for: Mapping[str, str]) -> dict[str, Any]:
    # A new object: that of the traced future is shared by all that refer to it.
    return {**ref, "from": stands_for[ref["from"]]} if ref["from"] in stands_for else ref


def _redirected(node: Node, stands_for: Mapping[str, str]) -> Node:
    """The node with what it waits for replaced by what stands for it."""
    moved = {
        name: substitute(tree, lambda ref: _moved(ref, stands_for))
        for name, tree in node.args.items()
        if any(source in stands_for for source in sources_of(tree))
    }
    after = node.after and tuple(dict.fromkeys(stands_for.get(name, name) for name in node.after))
    if not moved and after == node.after:
        return node
    return msgspec.structs.replace(node, args={**node.args, **moved}, after=after)


def _is_plain(site: Site) -> bool:
    """Whether results and arguments of a site mean the same in JSON as in Python."""
    of = (site.gives, *site.takes.values())
    return site.deterministic and site.control == "none" and all(_is_plain_type(parse(text)) for text in of)


def _is_plain_type(of: Type) -> bool:
    inner = [arg for arg in of.args if isinstance(arg, Type)]
    if of.name == "dict" and (len(inner) != 2 or inner[0].name != "str"):
        return False
    return of.name in _PLAIN and (of.name != "list" or bool(inner)) and all(map(_is_plain_type, inner))


def _is_known(node: Node) -> bool:
    """Whether a node waits for nothing, and always runs."""
    if node.after or node.when or node.unless or node.trigger != "success":
        return False
    return not any(_has_references(tree) for tree in node.args.values())


def _has_references(tree: Any) -> bool:
    if isinstance(tree, list):
        return any(map(_has_references, tree))
    if isinstance(tree, dict):
        return "map" not in tree or any(map(_has_references, tree["map"].values()))
    return False


def _literal(value: Any) -> Any:
    """The argument tree of plain JSON; of nothing else, as a plan could not tell it apart."""
    if value is None or type(value) in (bool, str):
        return value
    if type(value) is int and -(2**63) <= value < 2**63:
        return value
    if type(value) is float and abs(value) < float("inf"):
        return value
    if type(value) is list:
        return [_literal(part) for part in value]
    if type(value) is dict and all(type(key) is str for key in value):
        return {"map": {key: _literal(part) for key, part in value.items()}}
    raise NoConstant("it is not plain JSON")


def _with_constants(node: Node, site: Site, constants: Mapping[str, Any]) -> Node:
    """The node with constants in its arguments, wherever they fit the parameter's type."""
    folded = {}
    for name, tree in node.args.items():
        if any(source in constants for source in sources_of(tree)):
            changed = _folded(tree, constants)
            # References fit, as they did before: what has to be looked at are the literals.
            if not mismatches(changed, parse(site.takes[name]), lambda _: ANY, {}, ()):
                folded[name] = changed
    return msgspec.structs.replace(node, args={**node.args, **folded}) if folded else node


def _folded(tree: Any, constants: Mapping[str, Any]) -> Any:
    def value(ref: dict[str, Any]) -> Any:
        if ref["from"] not in constants or ref.get("at"):
            return ref
        return constants[ref["from"]]

    return substitute(tree, value)


def _with_nodes(plan: Plan, nodes: Sequence[Node]) -> Plan:
    """The plan with fewer nodes, without sites that have none any more, and classes that only these used."""
    used = {node.site for node in nodes}
    sites = tuple(site for site in plan.sites if site.site in used)
    spans = tuple(span for span in plan.spans if span.site in used)
    operators = {site.op for site in sites}
    codes = tuple(code for code in plan.codes if code.op in operators)
    imported = {package for code in codes for package in code.packages}
    changed = msgspec.structs.replace(
        plan,
        nodes=tuple(nodes),
        sites=sites,
        spans=spans,
        codes=codes,
        packages=tuple(row for row in plan.packages if row.package in imported),
    )
    if len(sites) == len(plan.sites):
        return changed
    types = [declared.type for declared in plan.header.inputs.values()]
    types += [text for site in sites for text in (*site.takes.values(), site.gives)]
    return msgspec.structs.replace(changed, structures=_structures_in(types, plan.structures))


def _structures_in(types: Iterable[str], structures: Sequence[Structure]) -> tuple[Structure, ...]:
    """The structures that occur in some types, and in the fields of those."""
    known = {structure.type: structure for structure in structures}
    found: set[str] = set()
    todo = [parse(text) for text in types]
    while todo:
        of = todo.pop()
        todo += [arg for arg in of.args if isinstance(arg, Type)]
        if of.name in known and of.name not in found:
            found.add(of.name)
            todo += [parse(text) for text in known[of.name].fields.values()]
    return tuple(structure for structure in structures if structure.type in found)
