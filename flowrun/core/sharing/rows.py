"""Tables as values: who has what against what is theirs, and what waits for what."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec

from flowrun.core.sharing.finish import FinishTimes
from flowrun.core.sharing.shares import Parts, Shares


class TeamRow(msgspec.Struct, frozen=True):
    """A team's use against its entitlement. Shares are dominant ones: of the resource it has most of."""

    team: str
    depth: int  # 0 at the top, 1 in a team that is not, ...
    running: int  # tasks
    waiting: int  # tasks
    used: dict[str, float]
    guaranteed: dict[str, float]
    limits: dict[str, float]  # only where there are some
    share: float
    entitled: float
    load: float  # use as a multiple of the entitlement, of the resource where that is largest
    finish_time_mean: float | None  # rho, see `finish`; none before anything ended
    finish_time_worst: float | None


class QueueRow(msgspec.Struct, frozen=True):
    """A task that waits: since when, for what, and its effective priority with its parts."""

    task: str
    team: str
    tier: int
    since_ms: int
    waits_for: str
    effective: float
    priority: float
    tier_penalty: float
    team_penalty: float
    boost: float
    expected_ms: int = 0  # when it is going to start; 0 if nobody can tell


def team_rows(
    shares: Shares, waiting: Mapping[str, int], finished: Mapping[str, FinishTimes] | None = None
) -> list[TeamRow]:
    """A row for every team, parts below what they are part of; else as configured."""
    return [_team_row(shares, team, depth, waiting, finished or {}) for team, depth in _in_tree(shares)]


def queue_row(
    task: str, team: str, tier: int, since_ms: int, waits_for: str, parts: Parts, expected_ms: int = 0
) -> QueueRow:
    """A row for a waiting task; `parts` are `Shares.parts` of it, `waits_for` says what it lacks."""
    return QueueRow(
        task,
        team,
        tier,
        since_ms,
        waits_for,
        parts.effective,
        parts.priority,
        parts.tier,
        parts.team,
        parts.waiting,
        expected_ms,
    )


def _team_row(
    shares: Shares, team: int, depth: int, waiting: Mapping[str, int], finished: Mapping[str, FinishTimes]
) -> TeamRow:
    name, entitled = shares.names[team], shares.entitled[team]
    within = [shares.names[i] for i, path in enumerate(shares.path) if team in path]
    times = finished.get(name)
    limits = zip(shares.resources, entitled.limits, strict=True)
    return TeamRow(
        name,
        depth,
        shares.running[team],
        sum(waiting.get(part, 0) for part in within),
        _named(shares, shares.used[team]),
        _named(shares, entitled.amounts),
        {resource: float(most) for resource, most in limits if most < float("inf")},
        float(shares.dominant(shares.used[team])),
        float(shares.dominant(entitled.amounts)),
        float(shares.load(team, shares.used[team])),
        times.mean if times and times.count else None,
        times.worst if times and times.count else None,
    )


def _named(shares: Shares, amounts: Iterable[float]) -> dict[str, float]:
    return {name: float(amount) for name, amount in zip(shares.resources, amounts, strict=True)}


def _in_tree(shares: Shares) -> Iterator[tuple[int, int]]:
    parts: dict[int, list[int]] = {}
    for team, parent in enumerate(shares.parent):
        parts.setdefault(parent, []).append(team)
    stack = [(team, 0) for team in reversed(parts.get(-1, []))]
    while stack:
        team, depth = stack.pop()
        yield team, depth
        stack += [(part, depth + 1) for part in reversed(parts.get(team, []))]
