"""Whether a configuration of teams makes sense, alone and on a host: every problem, with where it is."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from flowrun.core.sharing.entitlement import entitlements, guaranteed
from flowrun.core.sharing.teams import Sharing, Team

_DUST = 1e-9


class Problem(NamedTuple):
    """A diagnostic without a file. `where` are keys from the top, as in `("teams", "vision", "weight")`."""

    code: str
    message: str
    where: tuple[str, ...] = ()
    label: str = ""
    causes: tuple[tuple[tuple[str, ...], str], ...] = ()  # other places, and what is to be said of them
    hint: str = ""


_LARGEST = 1e15  # nothing counts further; NaN compares as false


class Bounds(NamedTuple):
    """The numbers that a key may be."""

    least: float
    most: float = math.inf
    above: bool = False  # `least` itself is too little

    def fit(self, number: float) -> bool:
        """Whether it is one of them; NaN and infinity are not."""
        return (
            abs(number) <= _LARGEST
            and self.least <= number <= self.most
            and not (self.above and number == self.least)
        )

    def __str__(self) -> str:
        least = f"above {self.least:g}" if self.above else f"at least {self.least:g}"
        return f"{least} and at most {self.most:g}" if self.most < math.inf else least


POSITIVE, NOT_NEGATIVE = Bounds(0, above=True), Bounds(0)
_BOUNDS = {
    "teams": {"weight": POSITIVE, "share": Bounds(0, 1), "burst": Bounds(1), "queue": NOT_NEGATIVE},
    "tiers": {"headroom": Bounds(0, 0.99)},
    "fairness": {"weight": NOT_NEGATIVE, "starvation_s": POSITIVE},
    "preemption": {"run_at_least_s": NOT_NEGATIVE, "times": NOT_NEGATIVE, "notice_s": NOT_NEGATIVE},
    "queue": {"limit": Bounds(1), "of_team": Bounds(1)},
}
_MOST_TIERS = 9
_NAMED = 5  # teams in one message
DEEPEST = 16  # levels of teams: each costs at every start and end


def problems(sharing: Sharing) -> list[Problem]:
    """All that is wrong with a configuration whatever the host is."""
    return [*_numbers(sharing), *_parents(sharing.teams)]


def problems_on(sharing: Sharing, capacity: Mapping[str, float]) -> list[Problem]:
    """All that is wrong with a configuration, sound in itself, on a host."""
    return list(_on_host(sharing, capacity))


def _numbers(sharing: Sharing) -> Iterator[Problem]:
    for section in ("tiers", "fairness", "preemption", "queue"):
        for key, bounds in _BOUNDS[section].items():
            yield from _number((section, key), getattr(getattr(sharing, section), key), bounds)
    weights = sharing.tiers.weights
    if not 1 <= len(weights) <= _MOST_TIERS:
        yield Problem(
            "FR122",
            f"there are {len(weights)} weights of tiers, and it must be 1 to {_MOST_TIERS}",
            ("tiers", "weights"),
        )
    for weight in weights:
        yield from _number(("tiers", "weights"), weight, POSITIVE)
    if not sharing.teams:
        yield Problem("FR122", "there is no team", ("teams",), hint="leave `teams` out for a single one")
    for name, team in sharing.teams.items():
        yield from _team(name, team, len(weights))


def _team(name: str, team: Team, tiers: int) -> Iterator[Problem]:
    if not name.strip() or not name.isprintable():
        yield Problem("FR122", f"{name!r} is no name for a team", ("teams", name))
        return
    for key, bounds in _BOUNDS["teams"].items():
        if getattr(team, key) is not None:
            yield from _number(("teams", name, key), getattr(team, key), bounds)
    if team.tier is not None:
        yield from _number(("teams", name, "tier"), team.tier, Bounds(1, tiers))
    for key in ("quota", "limit"):
        for resource, amount in getattr(team, key).items():
            yield from _number(("teams", name, key, resource), amount, NOT_NEGATIVE)
    for resource, most in team.limit.items():
        if team.quota.get(resource, 0) > most:
            guarantee = ((("teams", name, "quota", resource), "guaranteed here"),)
            message = f"team `{name}` may have at most {most:g} `{resource}`, and is guaranteed more"
            yield Problem("FR122", message, ("teams", name, "limit", resource), causes=guarantee)
    if team.quota and team.share is not None:
        yield Problem(
            "FR122",
            f"team `{name}` has both a `share` and a `quota`",
            ("teams", name, "share"),
            causes=((("teams", name, "quota"), "and here"),),
            hint="`share` is a part of every resource, `quota` are amounts: leave one of them out",
        )


def _number(where: tuple[str, ...], number: float, bounds: Bounds) -> Iterator[Problem]:
    if bounds.fit(number):
        return
    key, owner = (
        (where[2], f" of team `{where[1]}`") if where[0] == "teams" else (where[1], f" in `[{where[0]}]`")
    )
    if number > _LARGEST:
        said, bounds = f"above {_LARGEST:g}", bounds._replace(most=min(bounds.most, _LARGEST))
    else:
        said = f"below {-_LARGEST:g}" if number < -_LARGEST else f"{number:g}"
    yield Problem("FR122", f"`{key}`{owner} is {said}; it must be {bounds}", where)


def _parents(teams: Mapping[str, Team]) -> Iterator[Problem]:
    in_circles: set[str] = set()
    for name, team in teams.items():
        if team.parent and team.parent not in teams:
            message = f"team `{name}` is part of `{team.parent}`, which is no team"
            yield Problem("FR124", message, ("teams", name, "parent"), hint=_closest(team.parent, teams))
        path = [name]
        while (parent := teams[path[-1]].parent) in teams and parent not in path and len(path) <= DEEPEST:
            path.append(parent)
        if len(path) > DEEPEST:
            message = f"team `{name}` is nested deeper than {DEEPEST} levels"
            yield Problem("FR122", message, ("teams", name, "parent"))
            return  # those below it are, too
        if parent == name and not in_circles & set(path):  # each circle once
            in_circles.update(path)
            circle = " -> ".join(f"`{part}`" for part in [*path, name])
            message = (
                f"team `{name}` is part of itself: {circle}"
                if len(path) > 1
                else f"team `{name}` is part of itself"
            )
            causes = tuple((("teams", part, "parent"), "") for part in path[1:])
            yield Problem("FR124", message, ("teams", name, "parent"), causes=causes)


def _on_host(sharing: Sharing, capacity: Mapping[str, float]) -> Iterator[Problem]:
    unknown = [
        ("teams", name, key, resource)
        for name, team in sharing.teams.items()
        for key in ("quota", "limit")
        for resource in getattr(team, key)
        if resource not in capacity
    ]
    for where in unknown:
        message = f"team `{where[1]}` has a {where[2]} of `{where[3]}`, which this host does not have"
        yield Problem("FR126", message, where, hint=_closest(where[3], capacity) or _all(capacity))
    if not unknown:
        yield from _too_much(sharing, capacity)


def _too_much(sharing: Sharing, capacity: Mapping[str, float]) -> Iterator[Problem]:
    parts: dict[str, dict[str, Team]] = {"": {}}
    for name, team in sharing.teams.items():
        parts.setdefault(team.parent, {})[name] = team
    of_host = list(_sums("", parts.pop(""), capacity))
    yield from of_host
    if not of_host:  # else too little is left to others through no fault of theirs
        entitled = entitlements(sharing, capacity)
        for parent, members in parts.items():
            whole = dict(zip(capacity, entitled[parent].amounts, strict=True))
            yield from _sums(parent, members, whole)


def _sums(parent: str, parts: Mapping[str, Team], whole: Mapping[str, float]) -> Iterator[Problem]:
    """Whether the parts of a team, or of the host, are guaranteed more of something than it has itself."""
    resources = tuple(whole)
    fixed = {name: guaranteed(tuple(whole.values()), team, resources) for name, team in parts.items()}
    for d, resource in enumerate(resources):
        of = {name: amounts[d] for name, amounts in fixed.items() if amounts is not None and amounts[d]}
        total = sum(of.values())
        if total > whole[resource] * (1 + _DUST) + _DUST:
            owner = f"`{parent}` has {whole[resource]:g}" if parent else f"the host has {whole[resource]:g}"
            said = [("teams", name, "quota" if parts[name].quota else "share") for name in of]
            names = ", ".join(f"`{name}`" for name in list(of)[:_NAMED])
            names += f" and {len(of) - _NAMED} more" if len(of) > _NAMED else ""
            message = f"{names} are guaranteed {total:g} `{resource}` together, and {owner}"
            if len(of) == 1:
                message = f"{names} is guaranteed {total:g} `{resource}`, and {owner}"
            causes = tuple((where, f"{of[where[1]]:g} `{resource}`") for where in said[:-1][:_NAMED])
            yield Problem("FR125", message, said[-1], f"{of[said[-1][1]]:g} `{resource}`", causes)
            return  # shares that are too much are too much of everything: once is enough


def _closest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), 1)
    return f"did you mean `{close[0]}`?" if close else ""


def _all(capacity: Mapping[str, float]) -> str:
    return "it has " + ", ".join(f"`{resource}`" for resource in capacity)
