"""Fair-share of a tree of accounts by what they used in the past: the two ways that batch systems know.

A node has shares against its siblings and a usage; leaves are users. Both are pure functions of a tree.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import groupby
from typing import Any

import msgspec

Number = int | float | Fraction


class Account(msgspec.Struct, frozen=True):
    """A user, or an account with members. Names of users are unique."""

    name: str
    shares: Number
    usage: Number = 0
    members: tuple[Account, ...] = ()


class Standing(msgspec.Struct, frozen=True):
    """A node in Slurm's classic fair-share: normalised shares, effective usage, and the factor, 0 to 1."""

    shares: float
    usage: float
    factor: float


def classic(root: Account, total: Number | None = None) -> dict[str, Standing]:
    """Slurm's classic fair-share of every node below the root, by name.

    `S` is a node's part of its siblings' shares times that of its parent, and so on upwards; `UA` its part
    of `total`, the usage that there could have been (if not given: of all that there was). Effective usage is
    `UE = UA + (UE of the parent - UA) * shares / shares of the siblings and itself`, at the top `UE = UA`;
    the factor is `2 ** (-UE / S)`. So who has used nothing pays for siblings who have used a lot.
    Source: SchedMD, doc/html/classic_fair_share.shtml.
    """
    whole: Number = total or sum(_used(member) for member in root.members) or 1
    found: dict[str, Standing] = {}

    def visit(account: Account, shares: Number, usage: Number) -> None:
        siblings = sum(member.shares for member in account.members) or 1
        for member in account.members:
            part: Any = member.shares / siblings
            actual: Any = _used(member) / whole
            effective = actual if account is root else actual + (usage - actual) * part
            own = shares * part
            factor = 2 ** (-effective / own) if own else 0.0
            found[member.name] = Standing(float(own), float(effective), float(factor))
            visit(member, own, effective)

    visit(root, 1, 1)
    return found


def weighted_tree(root: Account) -> dict[str, Fraction]:
    """Flux' fair-share of every user, best first: its rank, level by level, over the number of users.

    A node weighs its part of its siblings' shares over its part of their usage; without usage most of all,
    without shares nothing. The heavier of two siblings is before the other with all that is in it. Accounts
    that weigh the same are visited as one; users that do share the better rank, and the ranks after it are
    left out. Sources: flux-accounting, src/fairness; Slurm's Fair Tree does the same.
    """
    users = list(_walk([(_weight(member, root.members), member) for member in root.members]))
    rank = len(users)
    found: dict[str, Fraction] = {}
    for _, tied in groupby(users, key=lambda user: user[0]):
        names = [name for _, name in tied]
        found.update(dict.fromkeys(names, Fraction(rank, len(users))))
        rank -= len(names)
    return found


def _walk(
    siblings: Iterable[tuple[Fraction | float, Account]], at: tuple[int, ...] = ()
) -> Iterator[tuple[tuple[int, ...], str]]:
    """The users in order, each with a place that only those it ties with have, too."""
    # Users before accounts of the same weight, which they do not tie with.
    ranked = sorted(siblings, key=lambda pair: (-pair[0], bool(pair[1].members)))
    groups = groupby(ranked, key=lambda pair: (pair[0], bool(pair[1].members)))
    for number, ((_, accounts), tied) in enumerate(groups):
        nodes = [node for _, node in tied]
        if accounts:
            within = [(_weight(member, node.members), member) for node in nodes for member in node.members]
            yield from _walk(within, (*at, number))
        else:
            yield from (((*at, number), node.name) for node in nodes)


def _weight(account: Account, siblings: Sequence[Account]) -> Fraction | float:
    if not account.shares:
        return Fraction(0)
    if not account.usage:
        return float("inf")
    shares = Fraction(account.shares) / sum(Fraction(sibling.shares) for sibling in siblings)
    usage = Fraction(account.usage) / sum(Fraction(sibling.usage) for sibling in siblings)
    return shares / usage


def _used(account: Account) -> Number:
    return account.usage or sum(_used(member) for member in account.members)
