"""What is different between two plans, by node id and site id. Pure: two plans in, a `Difference` out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, Literal, TypeVar

import msgspec
from msgspec import UNSET

from flowc.plan.graph import dependencies
from flowc.plan.model import Header, Node, Plan, Site, Structure, site_of
from flowc.review.cost import CriticalPath, Demand, Weigh, by_count, demands, longest_path
from flowc.review.expressions import declaration, expression
from flowc.review.renames import renamed_nodes, renamed_sites, with_ids
from flowc.review.rerun import Rerun, runs_again

_T = TypeVar("_T")
_Text = str | msgspec.UnsetType
_encoder = msgspec.json.Encoder(order="deterministic")


class Both(msgspec.Struct, Generic[_T], frozen=True):
    """The same of the old and of the new plan."""

    old: _T
    new: _T


class Edit(msgspec.Struct, frozen=True):
    """Something that has another value. A side on which it does not exist is unset."""

    what: str
    old: Any = UNSET
    new: Any = UNSET


class Rewrite(msgspec.Struct, frozen=True):
    """An argument that changed in the same way in some nodes of a site; `old` and `new` are expressions.

    In the text of several nodes, references are without the loop values that differ from node to node. If
    nothing but loop values changed, the text is that of the first node, and the others are `alike`. The
    parameter `after` in `order` is what nodes wait for; it is no argument, and makes nothing run again.
    """

    parameter: str
    old: _Text
    new: _Text
    nodes: tuple[str, ...]
    alike: bool = False
    order: bool = False


class SiteDifference(msgspec.Struct, frozen=True):
    """A site that is not the same in both plans, however many nodes it has.

    `was` is the old name of a renamed site. `edits` are members of the site (`code`, `needs.cpus`),
    `arguments` those of nodes in both plans, `added` and `removed` are ids of nodes.
    """

    site: str
    status: Literal["added", "removed", "renamed", "changed"]
    op: str
    nodes: Both[int]
    was: str = ""
    edits: tuple[Edit, ...] = ()
    arguments: tuple[Rewrite, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class Size(msgspec.Struct, frozen=True):
    """How large a plan is."""

    nodes: int
    sites: int
    levels: int


class PathDifference(msgspec.Struct, frozen=True):
    """The critical paths, and the nodes that are on one only; a renamed node stays on."""

    unit: str
    old: CriticalPath
    new: CriticalPath
    joined: tuple[str, ...]
    left: tuple[str, ...]


class Difference(msgspec.Struct, frozen=True):
    """Everything that is different. `moved` counts the sites of which only the place in the source is."""

    workflow: str
    size: Both[Size]
    header: tuple[Edit, ...]
    inputs: tuple[Edit, ...]
    outputs: tuple[Edit, ...]
    types: tuple[Edit, ...]
    sites: tuple[SiteDifference, ...]
    runs_again: tuple[Rerun, ...]
    critical_path: PathDifference
    needs: dict[str, Both[Demand]]
    moved: int

    @property
    def same(self) -> bool:
        """Whether the plans mean the same: they differ at most in places, and in the order of rows."""
        return not (self.header or self.inputs or self.outputs or self.types or self.sites)


def compare(old: Plan, new: Plan, weigh: Weigh = by_count, unit: str = "nodes") -> Difference:
    """The difference between two checked plans; `weigh` gives nodes their length on the critical path."""
    renamed = renamed_sites(old, new)
    ids = renamed_nodes(old, new, renamed)
    sites = tuple(_sites(old, new, renamed, ids))
    rewritten = {
        node for site in sites for rewrite in site.arguments if not rewrite.order for node in rewrite.nodes
    }
    depends_on = Both(dependencies(old.nodes), dependencies(new.nodes))
    held = Both(demands(old, depends_on.old), demands(new, depends_on.new))
    places = {span.site: span.at for span in old.spans}
    return Difference(
        workflow=new.header.workflow,
        size=Both(_size(old), _size(new)),
        header=tuple(_edits(_frame(old.header), _frame(new.header))),
        inputs=tuple(_edits(_declarations(old.header), _declarations(new.header))),
        outputs=tuple(_outputs(old.header, new.header, ids)),
        types=tuple(_edits(_types(old), _types(new))),
        sites=sites,
        runs_again=runs_again(old, new, ids, lambda node: node.id in rewritten),
        critical_path=_paths(old, new, depends_on, ids, weigh, unit),
        needs={name: Both(demand, held.new[name]) for name, demand in held.old.items()},
        moved=sum(1 for span in new.spans if places.get(span.site, span.at) != span.at),
    )


def _paths(
    old: Plan, new: Plan, depends_on: Both[list[list[int]]], ids: dict[str, str], weigh: Weigh, unit: str
) -> PathDifference:
    """Of equally long new paths, one that has much in common with the old one."""
    before = longest_path(old, depends_on.old, weigh)
    names = {was: now for now, was in ids.items()}
    kept = {names.get(node, node) for node in before.nodes}
    after = longest_path(new, depends_on.new, weigh, kept)
    on = set(after.nodes)
    return PathDifference(
        unit,
        before,
        after,
        joined=tuple(node for node in after.nodes if node not in kept),
        left=tuple(node for node in before.nodes if names.get(node, node) not in on),
    )


def _size(plan: Plan) -> Size:
    return Size(len(plan.nodes), len(plan.sites), len(plan.levels))


def _frame(header: Header) -> dict[str, Any]:
    return {"workflow": header.workflow, "root": header.root}


def _declarations(header: Header) -> dict[str, str]:
    return {name: declaration(declared) for name, declared in header.inputs.items()}


def _types(plan: Plan) -> dict[str, Any]:
    """The members of every type, as `flows:Parts.fields.train`."""
    return {
        f"{structure.type}.{name}": value
        for structure in plan.structures
        for name, value in _members(structure, "type").items()
        if value
    }


def _outputs(old: Header, new: Header, ids: dict[str, str]) -> Iterator[Edit]:
    """Changes of what the workflow returns; a result that only has another name is the same."""
    before, after = _named(old.result), _named(new.result)
    for edit in _edits(before, {name: with_ids(tree, ids) for name, tree in after.items()}):
        yield Edit(edit.what, *(_text(trees.get(edit.what, UNSET)) for trees in (before, after)))


def _named(result: Any) -> dict[str, Any]:
    """The outputs by name; the only output is called `result`."""
    if isinstance(result, dict) and "map" in result:
        named: dict[str, Any] = result["map"]
        return named
    return {} if result is None else {"result": result}


def _members(row: Structure | Site, *but: str) -> dict[str, Any]:
    """The members of a row, those of an inner struct or mapping as `needs.cpus`."""
    found: dict[str, Any] = {}
    for field in msgspec.structs.fields(row):
        value = getattr(row, field.name)
        if field.name in but:
            continue
        if isinstance(value, msgspec.Struct):
            value = {name: getattr(value, name) for name in value.__struct_fields__}
        if isinstance(value, dict):
            found.update((f"{field.name}.{key}", inner) for key, inner in value.items())
        else:
            found[field.name] = value
    return found


def _edits(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Edit]:
    """What is different between two mappings; the old one's names first."""
    for name in {**old, **new}:
        edit = Edit(name, old.get(name, UNSET), new.get(name, UNSET))
        if not _equal(edit.old, edit.new):
            yield edit


def _equal(one: Any, other: Any) -> bool:
    """Whether two values are written in the same way: to Python, `True == 1 == 1.0`."""
    if one is UNSET or other is UNSET:
        return one is other
    return _encoder.encode(one) == _encoder.encode(other)


def _sites(old: Plan, new: Plan, renamed: dict[str, str], ids: dict[str, str]) -> Iterator[SiteDifference]:
    """The sites that differ: those of the new plan in its order, then those that are gone."""
    sites = Both({site.site: site for site in old.sites}, {site.site: site for site in new.sites})
    nodes = Both(_by_site(old), _by_site(new))
    for site in new.sites:
        was = renamed.get(site.site, site.site)
        before = sites.old.get(was)
        after = nodes.new[site.site]
        if before is None:
            added = tuple(node.id for node in after)
            yield SiteDifference(site.site, "added", site.op, Both(0, len(after)), added=added)
            continue
        found = SiteDifference(
            site.site,
            "renamed" if was != site.site else "changed",
            site.op,
            Both(len(nodes.old[was]), len(after)),
            was if was != site.site else "",
            tuple(_edits(_members(before, "site"), _members(site, "site"))),
            *_node_differences(nodes.old[was], after, ids),
        )
        if found.was or found.edits or found.arguments or found.added or found.removed:
            yield found
    gone = set(renamed.values())
    for site in old.sites:
        if site.site not in sites.new and site.site not in gone:
            removed = tuple(node.id for node in nodes.old[site.site])
            yield SiteDifference(site.site, "removed", site.op, Both(len(removed), 0), removed=removed)


def _node_differences(
    old: list[Node], new: list[Node], ids: dict[str, str]
) -> tuple[tuple[Rewrite, ...], tuple[str, ...], tuple[str, ...]]:
    """What changed in the arguments of nodes that are in both plans; the nodes added; those removed."""
    before = {node.id: node for node in old}
    pairs = [(before.pop(ids.get(node.id, node.id), None), node) for node in new]
    found: dict[tuple[str, _Text, _Text, bool], list[tuple[str, Edit]]] = {}
    for was, node in pairs:
        if was is not None:
            for edit, order in _rewritten(was, node, ids):
                key = (edit.what, _text(edit.old, site_of), _text(edit.new, site_of), order)
                found.setdefault(key, []).append((node.id, edit))
    rewrites = []
    for (parameter, one, other, order), edits in found.items():
        alike = one == other and len(edits) > 1
        if len(edits) == 1 or alike:  # then there is room for the whole ids
            one, other = _text(edits[0][1].old), _text(edits[0][1].new)
        rewrites.append(Rewrite(parameter, one, other, tuple(node for node, _ in edits), alike, order))
    rewrites.sort(key=lambda rewrite: (rewrite.order, rewrite.parameter))
    return tuple(rewrites), tuple(node.id for was, node in pairs if was is None), tuple(before)


def _rewritten(old: Node, new: Node, ids: dict[str, str]) -> Iterator[tuple[Edit, bool]]:
    """The arguments that differ, as trees, and last what is waited for, if that does."""
    if not _equal(old.args, new.args):
        translated = {name: with_ids(tree, ids) for name, tree in new.args.items()} if ids else new.args
        for edit in _edits(old.args, translated):
            yield Edit(edit.what, edit.old, new.args.get(edit.what, UNSET)), False
    if old.after != new.after and set(old.after) != {ids.get(node, node) for node in new.after}:
        yield Edit("after", *([{"from": node} for node in after] for after in (old.after, new.after))), True


def _text(tree: Any, name: Callable[[str], str] = str) -> _Text:
    return UNSET if tree is UNSET else expression(tree, name)


def _by_site(plan: Plan) -> dict[str, list[Node]]:
    found: dict[str, list[Node]] = {}
    for node in plan.nodes:
        found.setdefault(node.site, []).append(node)
    return found
