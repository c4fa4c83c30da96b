"""What a configuration says of teams, tiers and limits: plain values, the same as in `teams.toml`."""

from __future__ import annotations

from typing import Literal

import msgspec

_TIER = 3
DEFAULT_TEAM = "default"  # the only one where nothing is configured


class Team(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Who has work. What is guaranteed is `quota`, or `share`, or by `weight` a part of what those leave."""

    parent: str = ""  # the team that this one is a part of; its quota is divided among its parts
    weight: float = 1
    share: float | None = None  # of what the parent has (or the host), 0 to 1
    quota: dict[str, float] = {}  # amounts by resource
    burst: float | None = None  # at most so many times what is guaranteed; none: all that others leave
    limit: dict[str, float] = {}  # at most these amounts, whatever `burst` says
    tier: int | None = None  # of its work that does not say; none: the third
    queue: int | None = None  # at most so many waiting; none: as `Queue.of_team`


class Tiers(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Tiers of importance, the first the highest: how the host is divided among them when all have work."""

    weights: tuple[float, ...] = (50, 30, 15, 5)
    headroom: float = 0.1  # part of the host that only tier 1 may use, rounded down to whole units


class Fairness(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What being above one's share costs, and what waiting earns, in points of priority."""

    weight: float = 10  # FAIRNESS_WEIGHT: points for a violation of 1
    # "relative": use / entitlement - 1, which is weighted DRF; "absolute": use - entitlement
    violation: Literal["relative", "absolute"] = "relative"
    starvation_s: float = 600  # STARVATION_THRESHOLD: waiting longer than this raises the priority


class Preemption(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """When running work may be taken away, and from then on how long it may still run."""

    enabled: bool = True
    run_at_least_s: float = 300  # a task that started less than this ago is left alone
    times: int = 3  # a task that was preempted so often is left alone
    notice_s: float = 30  # to write a checkpoint, before its process is ended


class Queue(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How much may wait before more is refused."""

    limit: int = 1_000_000
    of_team: int = 100_000


class Sharing(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """All of `teams.toml`."""

    teams: dict[str, Team] = msgspec.field(default_factory=lambda: {DEFAULT_TEAM: Team()})
    tiers: Tiers = Tiers()
    fairness: Fairness = Fairness()
    preemption: Preemption = Preemption()
    queue: Queue = Queue()


def tier_of(sharing: Sharing, team: str) -> int:
    """The tier of a team's work that names none: the team's, or the third, or the last if there are fewer."""
    return sharing.teams[team].tier or min(_TIER, len(sharing.tiers.weights))


def paths(teams: dict[str, Team]) -> dict[str, tuple[str, ...]]:
    """Each team with those that it is a part of: itself first, then upwards. Parents exist, no circles."""
    found: dict[str, tuple[str, ...]] = {}
    for name in teams:
        path = [name]
        while parent := teams[path[-1]].parent:
            path.append(parent)
        found[name] = tuple(path)
    return found
