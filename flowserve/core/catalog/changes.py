"""What an operation has done to a catalog, for people and logs."""

from __future__ import annotations

from typing import NamedTuple

from flowserve.core.catalog.catalog import Catalog, Named
from flowserve.core.catalog.rolling import told as told_of
from flowserve.core.catalog.settling import Settled
from flowserve.core.rollout.plan import Rollout


class Ended(NamedTuple):
    """A rollout that has ended. `promoted` says whether the alias names its candidate now."""

    name: str
    alias: str
    rollout: Rollout
    promoted: bool
    reason: str


def changes(before: Catalog, settled: Settled, reason: str = "") -> list[str]:
    """Say what an operation has done, a line each, for people and logs. `reason` is why it was done."""
    after = settled.catalog
    was, now = (
        {(name, number): e.serving for name, of in c.models.items() for number, e in of.versions.items()}
        for c in (before, after)
    )
    told = []
    for name, number in sorted({*was, *now}):
        old, new = was.get((name, number), ""), now.get((name, number), "")
        if old != new:
            did = "serves no longer" if not new else "serves" if not old else "serves with other files"
            told.append(f"version {number} of model `{name}` {did}")
    for name in sorted({*before.models, *after.models}):
        old_aliases, new_aliases = (c.models.get(name, Named()).aliases for c in (before, after))
        for alias in sorted({*old_aliases, *new_aliases}):
            number, to = old_aliases.get(alias, 0), new_aliases.get(alias, 0)
            if number != to:
                names = f"names version {to}" if to else "names nothing"
                if to and not after.models[name].versions[to].serving:
                    names += ", which does not serve"
                told.append(f"`{name}@{alias}` {names}" + (f", before {number}" if number else ""))
    told += rollout_changes(before, settled, reason)
    told += [f"not served: {reason}" for _, reason in sorted(settled.failed.items())]
    return told


def rollout_changes(before: Catalog, settled: Settled, reason: str = "") -> list[str]:
    """Say what an operation has done to rollouts."""
    told = []
    was_rolled, is_rolled = (
        {(name, alias): rollout for name, of in c.rollouts().items() for alias, rollout in of.items()}
        for c in (before, settled.catalog)
    )
    for name, alias in sorted({*was_rolled, *is_rolled, *settled.broken}):
        old_rollout, rollout = was_rolled.get((name, alias)), is_rolled.get((name, alias))
        if old_rollout is None and rollout is None:
            why = settled.broken[name, alias]
            told.append(f"a rollout of `{name}@{alias}` that was under way does not go on: {why}")
        elif said := told_of(name, alias, old_rollout, rollout, _why(settled, name, alias, reason)):
            told.append(said)
    return told


def rollouts_ended(before: Catalog, settled: Settled, reason: str = "") -> list[Ended]:
    """The rollouts that an operation has ended, in whatever way."""
    after = settled.catalog
    return [
        Ended(
            name,
            alias,
            rollout,
            after.models.get(name, Named()).aliases.get(alias) == rollout.candidate,
            _why(settled, name, alias, reason),
        )
        for name, of in before.rollouts().items()
        for alias, rollout in of.items()
        if alias not in after.models.get(name, Named()).rollouts
    ]


def _why(settled: Settled, name: str, alias: str, reason: str) -> str:
    broken = settled.broken.get((name, alias), "")
    return f"rolled back, since {broken}" if broken else reason
