"""What came of an operation, once everything that it needs was loaded, or was not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import msgspec

from flowserve.core.catalog.catalog import Catalog, Entry, Named, State
from flowserve.core.catalog.members import own_stamp
from flowserve.core.catalog.operations import Proposal
from flowserve.core.catalog.rolling import kept
from flowserve.core.models.key import Key


class Settled(msgspec.Struct, frozen=True):
    """What came of a proposal. `failed` has the reasons; with `done` false nothing else has changed.

    `broken` says by model and alias why rollouts could not go on."""

    catalog: Catalog
    done: bool
    failed: dict[Key, str] = {}
    broken: dict[tuple[str, str], str] = {}


def settle(proposal: Proposal, failed: Mapping[Key, str]) -> Settled:
    """Say what the catalog is once everything was loaded, but for what `failed`.

    The generation grows when anything is answered otherwise than before.
    """
    assert set(failed) <= {*proposal.load, *proposal.prove}
    done = not (proposal.whole and failed)
    base = proposal.catalog if done else proposal.before
    before = proposal.before
    models = {
        name: _settled(name, named, before.models.get(name, Named()).aliases, failed)
        for name, named in base.models.items()
    }
    models, broken = kept(models, before)
    catalog = Catalog({name: named for name, named in models.items() if named.versions})
    parts = (Catalog.serving, Catalog.aliases, Catalog.rollouts, Catalog.failed)
    same = all(of(catalog) == of(before) for of in parts)
    generation = before.generation + (not same)
    return Settled(msgspec.structs.replace(catalog, generation=generation), done, dict(failed), broken)


def _settled(name: str, named: Named, aliases_before: Mapping[str, int], failed: Mapping[Key, str]) -> Named:
    versions = {}
    for number, entry in named.versions.items():
        settled = _settled_entry(entry, failed.get(Key(name, number, entry.stamp), ""))
        if settled is not None:
            versions[number] = settled
    aliases = {}
    for alias, number in named.aliases.items():
        for target in (number, aliases_before.get(alias)):  # what failed does not get the alias
            if target in versions and versions[target].serving:
                aliases[alias] = target
                break
        else:  # but keeps it where it has it: who asks for it is to hear why, and not to get another version
            if number in versions and versions[number].state == "failed":
                aliases[alias] = number
    return Named(versions, aliases, named.rollouts)


def _settled_entry(entry: Entry, failure: str) -> Entry | None:
    """The entry when everything is loaded; None where nothing is left of it."""
    if failure:
        state: State = "ready" if entry.serving else "failed"
        return msgspec.structs.replace(entry, state=state, reason=failure)
    match entry.state:
        case "loading":
            return msgspec.structs.replace(entry, state="ready", serving=entry.stamp, reason="")
        case "leaving":
            return Entry("known", own_stamp(entry.stamp), needs=entry.needs) if entry.stamp else None
        case "known" | "ready" | "failed":
            return entry
        case _:
            assert_never(entry.state)
