"""How rollouts begin, go on and end, as operations on a model in the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import msgspec

from flowserve.core.catalog.catalog import Catalog, Named
from flowserve.core.models.key import Key
from flowserve.core.rollout.plan import Plan, Rollout, begun, found, hindrance, refuse_running, shares


class RollOut(msgspec.Struct, frozen=True, tag="rollout"):
    """Begin a rollout of an alias to a version, which is loaded if it is not."""

    name: str
    alias: str
    version: int
    plan: Plan


class Step(msgspec.Struct, frozen=True, tag="step"):
    """Give the candidate the share of the next step, if the rollout is still at the step of this serial."""

    name: str
    alias: str
    serial: int
    reason: str


class EndRollout(msgspec.Struct, frozen=True, tag="end"):
    """Promote the candidate, or let it get nothing more. A serial other than 0 must be that of the step."""

    name: str
    alias: str
    promote: bool
    serial: int
    reason: str


Rolling = RollOut | Step | EndRollout


def rolled(named: Named, operation: Rolling, generation: int) -> Named:
    """The model after an operation. What has to be loaded for it is the catalog's to say.

    Raises `Refused` FS280 to FS282.
    """
    name, alias, running = operation.name, operation.alias, named.rollouts
    replace = msgspec.structs.replace
    match operation:
        case RollOut(version=version, plan=plan):
            entry = named.versions[version]
            candidate = Key(name, version, entry.stamp or entry.serving)
            current = named.aliases.get(alias)
            stable = Key(name, current, named.versions[current].serving) if current else None
            rollout = begun(name, alias, plan, stable, candidate, running, generation)
            return replace(named, rollouts=running | {alias: rollout})
        case Step(serial=serial):
            rollout = found(name, alias, running, serial)
            assert not rollout.last
            return replace(
                named, rollouts=running | {alias: replace(rollout, step=rollout.step + 1, serial=generation)}
            )
        case EndRollout(promote=promote, serial=serial):
            rollout = found(name, alias, running, serial)
            aliases = named.aliases | ({alias: rollout.candidate} if promote else {})
            left = {other: of for other, of in running.items() if other != alias}
            return replace(named, aliases=aliases, rollouts=left)
        case _:
            assert_never(operation)


def kept(models: Mapping[str, Named], before: Catalog) -> tuple[dict[str, Named], dict[tuple[str, str], str]]:
    """The models with those of their rollouts that can go on with what serves, and why the others cannot, by
    model and alias."""
    broken = {
        (name, alias): "the model is gone"
        for name, of in before.rollouts().items()
        for alias in of
        if name not in models
    }
    left: dict[str, Named] = {}
    for name, named in models.items():
        serving = {number: entry.serving for number, entry in named.versions.items() if entry.serving}
        reasons = {
            alias: hindrance(rollout, named.aliases.get(alias), serving)
            for alias, rollout in named.rollouts.items()
        }
        good = {alias: rollout for alias, rollout in named.rollouts.items() if not reasons[alias]}
        left[name] = msgspec.structs.replace(named, rollouts=good) if named.rollouts else named
        broken |= {(name, alias): reason for alias, reason in reasons.items() if reason}
    return left, broken


def resumed(wanted: Mapping[str, Rollout], generation: int) -> dict[str, Rollout]:
    """Rollouts that a server has found: each begins its step again."""
    return {alias: msgspec.structs.replace(rollout, serial=generation) for alias, rollout in wanted.items()}


def refuse_alias(name: str, alias: str, running: Mapping[str, Rollout]) -> None:
    """Refuse (FS281) to move an alias of which there is a rollout."""
    if alias in running:
        refuse_running(name, alias, running[alias])


def refuse_version(name: str, version: int, running: Mapping[str, Rollout]) -> None:
    """Refuse (FS281) to take a version away that takes part in a rollout; 0 stands for all."""
    for alias, rollout in sorted(running.items()):
        if not version or version in (rollout.stable, rollout.candidate):
            refuse_running(name, alias, rollout)


def told(name: str, alias: str, before: Rollout | None, now: Rollout | None, reason: str) -> str:
    """What has happened to a rollout, in a sentence; "" for nothing."""
    title = f"rollout of `{name}@{alias}`"
    if now is None:
        return f"{title} to version {before.candidate} has ended: {reason}" if before else ""
    share = f"version {now.candidate} gets {now.share:g} %"
    if before is None or before.candidate != now.candidate:
        return f"{title} from version {now.stable} begins: {share}, in steps {shares(now.plan.steps)}"
    return f"{title}: {share}, since {reason}" if before.serial != now.serial else ""
