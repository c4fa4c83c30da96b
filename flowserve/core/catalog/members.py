"""Pipelines in a catalog. What a pipeline serves is its file and its members, so its stamp says both.

When a member's alias moves, or a newer version of it serves, the pipeline's stamp is another: it is loaded
again with the new members beside what serves, and both move at the same instant, or neither.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import blake2b

import msgspec

from flowserve.core.catalog.catalog import Entry, Named
from flowserve.core.models.key import Key

_MISSING = Key("", 0)


def own_stamp(stamp: str) -> str:
    """The part of a version's stamp that its own files have."""
    return stamp.partition("+")[0]


def is_bound(stamp: str) -> bool:
    """Whether the stamp is a pipeline's."""
    return "+" in stamp


def bound_stamp(own: str, members: Iterable[Key]) -> str:
    """The stamp of a pipeline with these members, in the order of its steps."""
    content = repr([(key.name, key.version, key.stamp) for key in members])
    return f"{own}+{blake2b(content.encode(), digest_size=8).hexdigest()}"


def bound(models: Mapping[str, Named]) -> dict[str, Named]:
    """Return models in which every pipeline's stamp is that of the members that will serve.

    One whose members are others than those that it serves with is to be loaded.
    """
    changed = dict(models)
    for name, named in models.items():
        pipelines = {n: e for n, e in named.versions.items() if e.needs and own_stamp(e.stamp)}
        if pipelines:
            versions = {n: _with_stamp(e, _stamp(models, name, n, ())) for n, e in pipelines.items()}
            changed[name] = msgspec.structs.replace(named, versions={**named.versions, **versions})
    return changed


def _with_stamp(entry: Entry, stamp: str) -> Entry:
    if entry.state in ("known", "leaving"):
        return entry
    if entry.state != "loading" and stamp == entry.stamp:
        return entry
    if stamp == entry.serving:
        return msgspec.structs.replace(entry, state="ready", stamp=stamp, reason="")
    return msgspec.structs.replace(entry, state="loading", stamp=stamp, reason="")


def _stamp(models: Mapping[str, Named], name: str, number: int, within: tuple[tuple[str, int], ...]) -> str:
    entry = models[name].versions[number]
    if not entry.needs:
        return entry.stamp if entry.state == "loading" else entry.serving
    members = []
    for need in entry.needs:
        member, _, tag = need.partition("@")
        # Those that it is a step of, too, whatever became of them: what has failed in a circle stays in it.
        around = {n for of, n in (*within, (name, number)) if of == member}
        found = _resolved(models.get(member), tag, around)
        if found is None or (member, found) in within:
            members.append(_MISSING)  # it will not load, and say why
        else:
            stamp = _stamp(models, member, found, (*within, (name, number)))
            members.append(Key(member, found, stamp))
    return bound_stamp(own_stamp(entry.stamp), members)


def _resolved(named: Named | None, tag: str, around: set[int]) -> int | None:
    """The version that a tag will mean, as `Table` has it when those `around` serve."""
    if named is None:
        return None
    will = [
        n
        for n, e in named.versions.items()
        if n in around or e.state == "loading" or (e.state == "ready" and e.serving)
    ]
    wanted = int(tag) if tag.isdecimal() else named.aliases.get(tag or "default")
    if wanted is None and not tag:
        return max(will, default=None)
    return wanted if wanted in will else None
