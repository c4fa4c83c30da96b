"""A rollout: part of an alias's requests go to another version, until rules say what is to become of it.

Values only. Which side a request gets is in `sides`, what has been seen in `evidence`, what follows from that
in `verdict`; how a rollout begins, goes on and ends is an operation on the catalog.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from flowc.plan.diagnostics import refuse
from flowserve.core.models.key import Key

Percent = Annotated[float, msgspec.Meta(ge=0, le=100)]
Above0 = Annotated[float, msgspec.Meta(gt=0)]

_STEPS_MAX = 50
_HEADER = r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,64}$"  # a token of RFC 9110, 5.6.2


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a rollout is to go. The names are those of the configuration's `[rollout]`."""

    steps: tuple[Percent, ...] = (1.0, 5.0, 25.0, 100.0)
    """The candidate's share of requests, in percent, step by step; 100 is its promotion."""
    shadow: Percent = 0.0
    """So many percent of what the stable version answers are run on the candidate too, and compared."""
    manual: bool = False
    """Nobody is promoted by rules; a candidate that is worse is rolled back all the same."""
    min_requests: Annotated[int, msgspec.Meta(ge=1)] = 250
    """Of the candidate in a step, at the least, before it gets more."""
    step_s: Annotated[float, msgspec.Meta(ge=0)] = 60.0
    """So long every step takes, at the least."""
    max_error_rate: Above0 = 0.02
    """So much more often than the stable version the candidate may fail: 0.02 is 2 of 100 requests."""
    max_latency_ratio: Annotated[float, msgspec.Meta(ge=1)] = 1.5
    """The candidate's 99th percentile by the stable version's."""
    max_disagreement: Above0 | None = None
    """Of 1 row, how much may differ in shadow; None only reports it."""
    tolerance: Annotated[float, msgspec.Meta(ge=0)] = 1e-3
    """By so much floats may be off, relative or absolute, and still be the same."""
    header: Annotated[str, msgspec.Meta(pattern=_HEADER)] = "X-Canary"
    """`always` or `never` in this header forces a side."""
    key: Annotated[str, msgspec.Meta(pattern=_HEADER)] = "X-Routing-Key"
    """Requests with the same value of this header get the same side."""


class Rollout(msgspec.Struct, frozen=True):
    """A rollout of a model's alias from version `stable` to version `candidate`."""

    stable: int
    candidate: int
    stamps: tuple[str, str]
    """Of the bytes that both serve: other bytes are another rollout."""
    plan: Plan
    step: int = 0
    serial: int = 0
    """The generation with which the step began: what was counted for another one is of no use."""

    @property
    def share(self) -> float:
        """What the candidate gets, in percent."""
        return self.plan.steps[self.step]

    @property
    def last(self) -> bool:
        """Whether promotion is what comes next."""
        return self.step + 1 >= len(self.plan.steps)


Running = dict[str, Rollout]
"""The rollouts of a model, by alias."""


def checked(plan: Plan) -> Plan:
    """A plan with its steps in their shortest form. Raises `Refused` FS280 where it cannot be followed."""
    steps = plan.steps[:-1] if plan.steps[-1:] == (100,) else plan.steps
    if not steps:
        hint = "`flowserve deploy` moves an alias at once"
        refuse("FS280", "a rollout must have a step below 100 %", hint=hint)
    if list(steps) != sorted(set(steps)) or steps[-1] >= 100:
        said = ", ".join(f"{step:g}" for step in plan.steps)
        refuse("FS280", f"the steps of a rollout must go up, and end with 100 at the most, got {said}")
    if len(steps) > _STEPS_MAX:
        refuse("FS280", f"a rollout must have at most {_STEPS_MAX} steps, got {len(steps)}")
    if not steps[0] and not plan.shadow and not plan.manual:
        hint = "give it a `shadow` share, or let it be `manual`"
        refuse("FS280", "nothing would be seen of the candidate at a share of 0 %", hint=hint)
    return msgspec.structs.replace(plan, steps=steps)


def planned(defaults: Plan, settings: dict[str, object]) -> Plan:
    """The plan that somebody asks for, by the settings that they give. Raises `Refused` FS280."""
    try:
        return checked(msgspec.convert(msgspec.to_builtins(defaults) | settings, Plan))
    except msgspec.ValidationError as error:
        reason, _, at = str(error).rstrip("`").partition(" - at `$.")
        said = f"{reason[:1].lower()}{reason[1:]}"
        refuse("FS280", f"a rollout's {f'`{at}`' if at else 'settings'} cannot be like that: {said}")


def begun(
    name: str, alias: str, plan: Plan, stable: Key | None, candidate: Key, running: Running, serial: int
) -> Rollout:
    """A rollout that begins. `stable` is what the alias names. Raises `Refused` FS280 and FS281."""
    if alias in running:
        refuse_running(name, alias, running[alias])
    if stable is None:
        hint = f"`flowserve alias {name} {alias} VERSION` makes it"
        refuse("FS280", f"model `{name}` has no alias `{alias}` that could be moved step by step", hint=hint)
    if not stable.stamp:
        hint = f"`flowserve alias {name} {alias} VERSION` moves it at once"
        refuse("FS280", f"`{name}@{alias}` names version {stable.version}, which does not serve", hint=hint)
    if stable.version == candidate.version:
        refuse("FS280", f"`{name}@{alias}` names version {candidate.version} already")
    stamps = (stable.stamp, candidate.stamp)
    return Rollout(stable.version, candidate.version, stamps, checked(plan), 0, serial)


def found(name: str, alias: str, running: Running, serial: int = 0) -> Rollout:
    """The rollout of an alias; `serial`, if given, is that of its step. Raises `Refused` FS282."""
    rollout = running.get(alias)
    if rollout is None:
        refuse("FS282", f"there is no rollout of `{name}@{alias}`")
    if serial and rollout.serial != serial:
        refuse("FS282", f"the rollout of `{name}@{alias}` is at another step by now")
    return rollout


def refuse_running(name: str, alias: str, rollout: Rollout) -> None:
    """Refuse FS281: first this rollout has to end."""
    of = "" if alias == "production" else f" --alias {alias}"
    refuse(
        "FS281",
        f"a rollout of `{name}@{alias}` from version {rollout.stable} to {rollout.candidate} is under way",
        hint=f"`flowserve rollout promote {name}{of}` or `flowserve rollout abort {name}{of}` ends it",
    )


def hindrance(rollout: Rollout, alias_names: int | None, serving: dict[int, str]) -> str:
    """Why a rollout cannot go on, "" where it can. `serving` has the stamps of the versions that serve."""
    if alias_names != rollout.stable:
        return f"the alias names version {alias_names} now" if alias_names else "the alias is gone"
    for version, stamp in zip((rollout.stable, rollout.candidate), rollout.stamps, strict=True):
        if version not in serving:
            return f"version {version} serves no longer"
        if serving[version] != stamp:
            return f"version {version} has other files now"
    return ""


def shares(steps: Sequence[float]) -> str:
    """Steps for people: `1 → 5 → 25 → 100 %`."""
    return " → ".join(f"{step:g}" for step in (*steps, 100.0)) + " %"
