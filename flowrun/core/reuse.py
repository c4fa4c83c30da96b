"""Results that need not be computed again: a node's content key, and what was computed under the same.

A content key covers the operator, its code, the installed versions of the packages that it imports, and its
arguments: the values of the workflow's inputs, and the hashes of the artifacts that other nodes gave. Unlike
a node's key in the plan it is known only when all these are. What was computed anew and came out the same
makes no difference to those that depend on it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from blake3 import blake3

from flowc.plan.model import InputRef, Ref
from flowrun.core.changes import Logged, Reuse
from flowrun.core.control import flat
from flowrun.core.keys import substitute
from flowrun.core.model import Artifact, Origin

if TYPE_CHECKING:
    from flowrun.core.state import State
    from flowrun.core.task import Task

_encode = msgspec.json.Encoder(order="deterministic").encode


class Hit(NamedTuple):
    """A result that is there, and whose it is. Whether it is intact may be known, or yet to be verified."""

    artifact: Artifact
    origin: Origin
    verified: bool = True


class Cache(NamedTuple):
    """What other runs computed: `lookup` says what is known under a content key.

    `logged` says what an attempt logged that computed something.
    Nothing is taken from there if `closed`, nor for the nodes, or nodes of the sites, that are named in
    `refresh`.
    """

    lookup: Callable[[bytes], Hit | None]
    closed: bool = False
    refresh: frozenset[str] = frozenset()
    logged: Callable[[Origin], Logged | None] = lambda origin: None

    def is_open_to(self, task: Task) -> bool:
        """Whether a result may be taken for a node: not if it has to run, as what it made is damaged."""
        return not self.closed and not task.redone and not is_named(task, self.refresh)


class Content(NamedTuple):
    """What a node computes, by content. Arguments are trees with the values of inputs, and hashes."""

    op: str
    code: str
    versions: Mapping[str, str]
    args: Mapping[str, Any]

    @property
    def key(self) -> bytes:
        """16 bytes."""
        digest: bytes = blake3(_encode(self)).digest(16)
        return digest


class _Open(Exception):
    """An argument has no value, and never will: the node is going to fail."""


def look_up(state: State, task: Task) -> Hit | None:
    """What is known of what a node, which is ready, is to compute. Notes its content key."""
    if state.cache is None or not may_be_kept(task):
        return None
    content = content_of(state, task)
    if content is None:
        return None
    key = state.contents[task.node.id] = content.key
    return state.cache.lookup(key) if state.cache.is_open_to(task) else None


def taken(state: State, reuse: Reuse) -> list[Reuse | Logged]:
    """A result that is taken, and what was logged when it was computed: that belongs to it."""
    logged = state.cache.logged(reuse.origin) if state.cache is not None else None
    if logged is None:
        return [reuse]
    return [reuse, msgspec.structs.replace(logged, at_ms=reuse.at_ms, node=reuse.node, attempt=0)]


def may_be_kept(task: Task) -> bool:
    """Whether a node's result may be an earlier one: not of a handler, or if its operator says otherwise."""
    return task.site.cache and task.node.trigger == "success"


def is_named(task: Task, names: frozenset[str]) -> bool:
    """Whether a node, or its site, is among those named."""
    return bool(names) and (task.node.id in names or task.site.site in names)


def content_of(state: State, task: Task) -> Content | None:
    """What a node computes, given what it depends on; none if that does not have what the node wants."""

    def resolve(ref: Ref | InputRef) -> Any:
        if isinstance(ref, InputRef):
            return _input(state.inputs, ref)
        source = state.by_id[ref.source]
        if source.artifact is not None:
            return {"hash": source.artifact.hash, "at": ref.at}
        if source.site.control != "none":  # it came to something that has no such part
            raise _Open
        return None

    results, site = state.results, task.site
    try:
        args = {
            name: substitute(flat(tree, results) if results else tree, resolve)
            for name, tree in task.node.args.items()
        }
    except _Open:
        return None
    return Content(site.op, site.code, state.versions.get(site.op, {}), args)


def _input(inputs: Mapping[str, Any], ref: InputRef) -> Any:
    value = inputs[ref.input]
    try:
        for step in ref.at:
            value = value[step]
    except (KeyError, IndexError, TypeError):
        raise _Open from None
    return {"value": value}
