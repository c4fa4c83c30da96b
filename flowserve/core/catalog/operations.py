"""What changes a catalog: pure, so that every order of events can be tried.

One operation is made at a time. `propose` says what the catalog would be and which versions must be loaded
for that; every process loads, warms up and checks them; `settle` takes what failed and says what the catalog
is now. What fails never takes traffic: the version before it stays, and so do the aliases.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import assert_never

import msgspec

from flowc.plan.diagnostics import refuse
from flowserve.core.catalog.catalog import Catalog, Entry, Named, State
from flowserve.core.catalog.members import bound, own_stamp
from flowserve.core.catalog.rolling import (
    EndRollout,
    RollOut,
    Step,
    refuse_alias,
    refuse_version,
    resumed,
    rolled,
)
from flowserve.core.models.key import Key
from flowserve.core.rollout.plan import Rollout
from flowserve.core.wording import cut, listed

_ALIAS = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class Refresh(msgspec.Struct, frozen=True, tag="refresh"):
    """What a look at the repository found: for every model that was looked at, the stamps of its versions and
    its aliases (None: the file does not say). A model without versions is gone. Rollouts are those that an
    earlier server has left: only a server that starts looks for them."""

    found: dict[str, dict[int, str]]
    aliases: dict[str, dict[str, int]] = {}
    rollouts: dict[str, dict[str, Rollout]] = {}
    needs: dict[str, dict[int, tuple[str, ...]]] = {}
    """Of those that are pipelines."""


class Load(msgspec.Struct, frozen=True, tag="load"):
    """Serve a version that is on disk, 0 for all of the model; one that failed is tried again."""

    name: str
    version: int = 0


class Unload(msgspec.Struct, frozen=True, tag="unload"):
    """Serve a version no longer, 0 for all of the model."""

    name: str
    version: int = 0


class Point(msgspec.Struct, frozen=True, tag="alias"):
    """Let an alias name a version, 0 to remove the alias. The version is loaded if it is not."""

    name: str
    alias: str
    version: int


Operation = Refresh | Load | Unload | Point | RollOut | Step | EndRollout


class Proposal(msgspec.Struct, frozen=True):
    """A catalog as it would be, with `loading` and `leaving` entries, and what has to be loaded for that.

    `whole`: it is done all or not at all; otherwise a failure spares the rest."""

    before: Catalog
    catalog: Catalog
    load: tuple[Key, ...]
    whole: bool
    prove: tuple[Key, ...] = ()
    """What serves already, maybe without having been loaded by anybody, and is named now: it must load."""


def propose(catalog: Catalog, operation: Operation) -> Proposal:
    """Say what an operation would make of a catalog. Raises `Refused` FS107 for what it cannot."""
    models = dict(catalog.models)
    prove: tuple[Key, ...] = ()
    match operation:
        case Refresh(found, aliases, rollouts, needs):
            for name in sorted(found):
                of = needs.get(name, {})
                named = _refreshed(models.get(name, Named()), found[name], aliases.get(name), of)
                left = resumed(rollouts.get(name, {}), catalog.generation + 1)
                models[name] = msgspec.structs.replace(named, rollouts=named.rollouts | left)
                if not models[name].versions:
                    del models[name]
            whole = False
        case Load(name, version):
            named = _named(catalog, name)
            numbers = [_on_disk(name, named, version)] if version else sorted(named.versions)
            models[name] = _with(named, {number: _wanted(named.versions[number]) for number in numbers})
            whole = bool(version)
            prove = _unproven(name, named, version)
        case Unload(name, version):
            models[name] = _unloaded(name, _named(catalog, name), version)
            whole = True
        case Point(name, alias, version):
            models[name] = _pointed(name, _named(catalog, name), alias, version)
            whole = True
            prove = _unproven(name, catalog.models[name], version)
        case RollOut(name=name, version=version):
            _on_disk(name, _named(catalog, name), version)
            named = rolled(catalog.models[name], operation, catalog.generation + 1)
            models[name] = _with(named, {version: _wanted(named.versions[version])})
            whole = True
            prove = _unproven(name, catalog.models[name], version)
        case Step(name=name) | EndRollout(name=name):
            models[name] = rolled(_named(catalog, name), operation, catalog.generation + 1)
            whole = True
        case _:
            assert_never(operation)
    models = bound(models)
    load = tuple(
        Key(name, number, entry.stamp)
        for name, named in sorted(models.items())
        for number, entry in sorted(named.versions.items())
        if entry.state == "loading"
    )
    return Proposal(catalog, Catalog(models, catalog.generation), load, whole, prove)


def _refreshed(
    named: Named,
    found: Mapping[int, str],
    aliases: Mapping[str, int] | None,
    needs: Mapping[int, tuple[str, ...]],
) -> Named:
    versions: dict[int, Entry] = {}
    for number in sorted({*named.versions, *found}):
        entry, stamp = named.versions.get(number), found.get(number, "")
        if entry is None:
            versions[number] = Entry("loading", stamp, needs=needs.get(number, ()))
        elif not stamp:
            # What an alias names goes on from memory: to lose it would take production down for a `rm`.
            kept = entry.serving and number in named.aliases.values()
            versions[number] = (
                msgspec.structs.replace(entry, state="ready", stamp="", reason="its files are gone")
                if kept
                else msgspec.structs.replace(entry, state="leaving", stamp="")
            )
        elif stamp != own_stamp(entry.stamp) and entry.state != "known":
            again = stamp == entry.serving
            state: State = "ready" if again else "loading"
            versions[number] = Entry(state, stamp, entry.serving, needs=needs.get(number, ()))
        elif entry.state == "known":
            versions[number] = msgspec.structs.replace(entry, stamp=stamp, needs=needs.get(number, ()))
        else:
            versions[number] = entry
    wanted = named.aliases if aliases is None else aliases
    aliases = {alias: number for alias, number in wanted.items() if number in versions}
    return Named(versions, aliases, named.rollouts)


def _wanted(entry: Entry) -> Entry:
    if entry.state == "ready" and entry.serving == entry.stamp:
        return entry
    if not entry.stamp:
        return entry  # gone from the disk: what is in memory is all there is
    return msgspec.structs.replace(entry, state="loading", reason="")


def _unproven(name: str, named: Named, version: int) -> tuple[Key, ...]:
    """The version, if it serves what is on disk: of a lazy tier nobody may have loaded it yet."""
    entry = named.versions.get(version)
    serves = entry is not None and entry.state == "ready" and entry.serving == entry.stamp
    return (Key(name, version, entry.stamp),) if entry is not None and serves else ()


def _unloaded(name: str, named: Named, version: int) -> Named:
    numbers = [_on_disk(name, named, version)] if version else sorted(named.versions)
    refuse_version(name, version, named.rollouts)
    for alias, number in sorted(named.aliases.items()):
        if version and number == version:
            refuse(
                "FS107",
                f"version {version} of model `{name}` must not be unloaded: the alias `{alias}` names it",
                hint=f"point it elsewhere first: `flowserve alias {name} {alias} VERSION`",
            )
    changed = {
        number: msgspec.structs.replace(named.versions[number], state="leaving", reason="")
        for number in numbers
    }
    unloaded = _with(named, changed)
    return unloaded if version else msgspec.structs.replace(unloaded, aliases={})


def _pointed(name: str, named: Named, alias: str, version: int) -> Named:
    if not _ALIAS.fullmatch(alias):
        expected = "letters, digits, `_`, `-` and `.`, and not begin with a digit"
        refuse("FS107", f"an alias must be of {expected}, got `{cut(alias)}`")
    refuse_alias(name, alias, named.rollouts)
    if not version:
        if alias not in named.aliases:
            has = listed(sorted(named.aliases)) or "none"
            refuse("FS107", f"model `{name}` has no alias `{alias}`; it has {has}")
        left = {other: to for other, to in named.aliases.items() if other != alias}
        return msgspec.structs.replace(named, aliases=left)
    number = _on_disk(name, named, version)
    moved = msgspec.structs.replace(named, aliases=named.aliases | {alias: number})
    return _with(moved, {number: _wanted(named.versions[number])})


def _named(catalog: Catalog, name: str) -> Named:
    if name not in catalog.models:
        has = listed(sorted(catalog.models)) or "none"
        refuse("FS107", f"there is no model `{cut(name)}`; the repository has {has}")
    return catalog.models[name]


def _on_disk(name: str, named: Named, version: int) -> int:
    if version not in named.versions:
        has = listed([str(number) for number in sorted(named.versions)])
        refuse("FS107", f"model `{name}` has no version {version}; it has {has}")
    return version


def _with(named: Named, changed: Mapping[int, Entry]) -> Named:
    return msgspec.structs.replace(named, versions={**named.versions, **changed})
