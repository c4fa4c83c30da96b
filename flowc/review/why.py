"""Why a node has to run again: what differs between two plans in all that its result depends on.

The same as goes into its key (`flowrun/core/keys.py`): the operator and its code, the versions of packages,
the arguments, and all of these for the nodes that it depends on. Inputs are taken to be left to their
defaults. What only decides how it runs (resources, retries) is told, too, but is no reason to run again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.model import InputRef, Node, Plan, Site, references, sources_of
from flowc.plan.text import counted

_MOST_SHOWN = 10  # nodes upstream that changed
_MOST_CHARACTERS = 60  # of a value
_NO_REASON = {"site", "op", "code", "imports"}  # of a site: told otherwise, or of no consequence


class Difference(msgspec.Struct, frozen=True):
    """One thing that is not the same: `what` it is, and its `name` if there are several of the kind.

    `before` and `after` are JSON for an argument, an input's default or what is declared, hashes for code, a
    version for a package; "" if it is not there.
    """

    what: str
    name: str
    before: str
    after: str


class Changed(msgspec.Struct, frozen=True):
    """A node upstream that changed by itself."""

    node: str
    reasons: tuple[Difference, ...]


class Why(msgspec.Struct, frozen=True):
    """The answer: what of the node itself changed, what upstream, and what only changes how it runs."""

    node: str
    runs_again: bool
    reasons: tuple[Difference, ...]
    upstream: tuple[Changed, ...]
    no_reasons: tuple[Difference, ...]


def why(before: Plan, after: Plan, node: str) -> Why:
    """Compare all that a node depends on; `Refused` (FC236 to FC238) if it cannot be compared."""
    if before.header.workflow != after.header.workflow:
        message = f"the plans are of `{before.header.workflow}` and of `{after.header.workflow}`"
        refuse("FC238", message, hint="compare two plans of one workflow")
    _demand_in_both(before, after, node)
    old, new = _Side(before, node), _Side(after, node)
    upstream = tuple(
        Changed(name, reasons)
        for name in new.order[:-1]
        if name in old.nodes and (reasons := tuple(_reasons(old, new, name)))
    )
    again = old.keys[node] != new.keys[node]
    return Why(node, again, tuple(_reasons(old, new, node)), upstream, tuple(_declared(old, new, node)))


def _demand_in_both(before: Plan, after: Plan, node: str) -> None:
    old, new = ({one.id: one for one in plan.nodes} for plan in (before, after))
    if node in old and node in new:
        return
    if node not in old and node not in new:
        close = get_close_matches(node, new, 1) or get_close_matches(node, old, 1)
        hint = f"did you mean `{close[0]}`?" if close else "`flowc show` lists the nodes of a plan"
        refuse("FC236", f"neither plan has a node `{node}`", hint=hint)
    # It may only be called otherwise: look for a node of the same operator that the other plan has not.
    there, plan = (new, before) if node in new else (old, after)
    operator = {site.site: site.op for site in (*before.sites, *after.sites)}
    others = [
        one.id
        for one in plan.nodes
        if one.id not in there and operator[one.site] == operator[there[node].site]
    ]
    close = get_close_matches(node, others, 1, cutoff=0)
    hint = f"the other plan has `{close[0]}`, of the same operator" if close else ""
    which = "second" if node in new else "first"
    refuse("FC237", f"only the {which} plan has the node `{node}`", hint=hint)


class _Side:
    """What of a plan has to do with a node: itself, last in `order`, and what it depends on."""

    def __init__(self, plan: Plan, node: str) -> None:
        self.inputs = plan.header.inputs
        self.sites = {site.site: site for site in plan.sites}
        self.codes = {code.op: code for code in plan.codes}
        self.versions = {row.package: row.version for row in plan.packages}
        found = {node}
        for one in reversed(plan.nodes):
            if one.id in found:
                found.update(source for tree in one.args.values() for source in sources_of(tree))
        self.nodes = {one.id: one for one in plan.nodes if one.id in found}
        self.order = list(self.nodes)
        self.keys: dict[str, str] = {}
        for name, one in self.nodes.items():
            site = self.sites[one.site]
            args = {parameter: self.value(tree) for parameter, tree in one.args.items()}
            content = _json([site.op, site.code, self.packages(site), args])
            self.keys[name] = hashlib.sha256(content.encode()).hexdigest()

    def packages(self, site: Site) -> dict[str, str]:
        """The versions of the packages that an operator imports."""
        code = self.codes.get(site.op)
        return {
            name: self.versions[name] for name in (code.packages if code else ()) if name in self.versions
        }

    def value(self, tree: Any) -> Any:
        """An argument tree with what it refers to: the keys of nodes, the defaults of inputs."""
        if isinstance(tree, list):
            return [self.value(part) for part in tree]
        if not isinstance(tree, dict):
            return tree
        if "map" in tree:
            return {"map": {key: self.value(part) for key, part in tree["map"].items()}}
        if "from" in tree:
            return {**tree, "from": self.keys[tree["from"]]}
        declared = self.inputs[tree["input"]]
        return {**tree, "default": "" if declared.required else [declared.default]}


def _reasons(old: _Side, new: _Side, node: str) -> Iterator[Difference]:
    """What gives a node another key, apart from what changed upstream."""
    one, other = old.nodes[node], new.nodes[node]
    before, after = old.sites[one.site], new.sites[other.site]
    if before.op != after.op:
        yield Difference("operator", "", before.op, after.op)
    if before.code != after.code:
        yield from _code(old, new, before, after)
    yield from _between("package", old.packages(before), new.packages(after))
    for found in _between("argument", _written(one), _written(other)):
        # Of a node that is only called otherwise, the result is the same.
        values = [
            _json(side.value(given.args[found.name])) if found.name in given.args else ""
            for side, given in ((old, one), (new, other))
        ]
        if values[0] != values[1]:
            yield found
    read = {
        ref.input for tree in other.args.values() for ref in references(tree) if isinstance(ref, InputRef)
    }
    yield from _between("input", _defaults(old, read), _defaults(new, read))


def _code(old: _Side, new: _Side, before: Site, after: Site) -> Iterator[Difference]:
    """The parts of the code that differ; the hash of all if a plan does not tell."""
    if before.op not in old.codes or after.op not in new.codes:
        yield Difference("code", after.op, before.code, after.code)
        return
    for found in _between("code", old.codes[before.op].parts, new.codes[after.op].parts):
        what, _, name = found.name.rpartition(" ")  # `default NAME`, `closure NAME`
        own = "own code" if name == after.op else "code"
        yield msgspec.structs.replace(found, what=what or own, name=name)


def _declared(old: _Side, new: _Side, node: str) -> Iterator[Difference]:
    """What decides how a node runs, not what comes out."""
    before, after = (
        {
            name: _json(value)
            for name, value in msgspec.to_builtins(side.sites[side.nodes[node].site]).items()
            if name not in _NO_REASON
        }
        for side in (old, new)
    )
    yield from _between("declared", before, after)
    orders = [
        {"after": _json(side.nodes[node].after)} if side.nodes[node].after else {} for side in (old, new)
    ]
    yield from _between("declared", *orders)


def _written(node: Node) -> dict[str, str]:
    return {name: _json(tree) for name, tree in node.args.items()}


def _defaults(side: _Side, names: Iterable[str]) -> dict[str, str]:
    declared = {name: side.inputs[name] for name in names if name in side.inputs}
    return {name: _json(one.default) for name, one in declared.items() if not one.required}


def _between(what: str, before: dict[str, str], after: dict[str, str]) -> Iterator[Difference]:
    for name in sorted(before.keys() | after.keys()):
        if before.get(name) != after.get(name):
            yield Difference(what, name, before.get(name, ""), after.get(name, ""))


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), sort_keys=True)


def as_text(found: Why) -> str:
    """The answer for people: the node's own reasons, then those upstream."""
    said = "has to run again" if found.runs_again else "need not run again"
    lines = [f"`{found.node}` {said}", *(f"  {_sentence(reason)}" for reason in found.reasons)]
    if found.upstream:
        lines.append(f"  {counted(len(found.upstream), 'node')} changed on the way to it:")
    for changed in found.upstream[:_MOST_SHOWN]:
        lines += [f"    `{changed.node}`", *(f"      {_sentence(reason)}" for reason in changed.reasons)]
    if len(found.upstream) > _MOST_SHOWN:
        lines.append(f"    ... and {len(found.upstream) - _MOST_SHOWN} more")
    if not found.runs_again:
        lines.append("  its code, its arguments and all that it depends on are the same")
    if found.no_reasons:
        lines += ["  changed, but no reason:", *(f"    {_sentence(one)}" for one in found.no_reasons)]
    return "\n".join(lines)


_SENTENCES = {
    "operator": "it calls another operator: {}",
    "own code": "its own code{}",
    "code": "its code reaches `{name}`, which{}",
    "default": "the default of its parameter `{name}`{}",
    "closure": "`{name}`, which it closes over,{}",
    "package": "the package {name}: {}",
    "argument": "its argument `{name}`: {}",
    "input": "the default of the workflow's input `{name}`: {}",
    "declared": "`{name}`: {}",
}


def _sentence(difference: Difference) -> str:
    before, after = difference.before, difference.after
    if difference.what in ("own code", "code", "default", "closure"):
        shown = " changed" if before and after else " is new" if after else " is gone"
        if difference.what == "code" and not (before and after):
            return f"its code {'now reaches' if after else 'no longer reaches'} `{difference.name}`"
    else:
        shown = " -> ".join(_shortened(side) or "not there" for side in (before, after))
    return _SENTENCES[difference.what].format(shown, name=difference.name)


def _shortened(value: str) -> str:
    return value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}..."
