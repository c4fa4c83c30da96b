"""Fair shares against published cases: DRF's worked examples, Slurm's classic fair-share, Flux' trees.

Each figure of the files is compared with what the functions of `flowrun.core.sharing` give. DRF's cases go
through the scheduler's own shares and turns. Skips what does not lie in the folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks import harness
from benchmarks.graph_files import data_folder
from flowrun.core.sharing.drf import divided, dominant_share, progressive_filling
from flowrun.core.sharing.trees import Account, classic, weighted_tree

_DIGITS = 6
# Cases of Flux that come without figures: the order of the users in its own tests; these tie: { }.
_ORDERS = {
    "small_tie_diff_type": "3.1 3.2 0.1 1.3 {1.1 1.2}",
    "small_zero_shares": "3.1 3.2 2.3 1.3 {1.1 1.2} {2.1 2.2}",
}


class Check(NamedTuple):
    """A published figure and ours."""

    case: str
    what: str
    expected: Any
    got: Any
    ok: bool


def measure(data: str) -> dict[str, Any]:
    """Compare with every published case."""
    folder = Path(data) / "fair"
    checks = [check for read in (_drf, _slurm, _flux) for check in read(folder)]
    cases = list(dict.fromkeys(check.case for check in checks))
    return {
        "benchmark": "fairness",
        "cases": len(cases),
        "figures": len(checks),
        "exact": sum(check.ok for check in checks),
        "wrong": [check._asdict() for check in checks if not check.ok],
        "rows": [
            {
                "case": case,
                "figures": sum(check.case == case for check in checks),
                "exact": sum(check.case == case and check.ok for check in checks),
            }
            for case in cases
        ],
        **harness.machine(),
    }


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = [f"{row['case']:<34} {row['exact']:>3} of {row['figures']:>3} exact" for row in figures["rows"]]
    lines += [f"wrong: {row}" for row in figures["wrong"]]
    return "\n".join(
        [*lines, f"{figures['exact']} of {figures['figures']} figures exact to {_DIGITS} decimals"]
    )


def _drf(folder: Path) -> Iterator[Check]:
    cases = _json(folder / "drf_cases.json")
    if cases is None:
        return
    filling = cases["progressive_filling"]
    demands = {user: filling["demands"][user] for user in filling["tie_order"]}
    filled = progressive_filling(filling["capacity"], demands)
    parts = divided(filling["capacity"], demands)
    case = "drf progressive filling"
    yield _same(case, "order", filling["allocation_order"], list(filled.order))
    yield _same(case, "tasks", filling["tasks"], filled.tasks)
    for user, share in filling["dominant_share"].items():
        yield _close(case, f"dominant share of {user}", Fraction(share), filled.dominant_share[user])
    yield _same(case, "used", filling["used"], [float(amount) for amount in filled.used])
    for user, tasks in filling["tasks"].items():
        yield _close(case, f"tasks of {user}, divisible", tasks, parts[user])
    for policy, given in cases["other_policies_on_same_input_must_NOT_be_what_drf_gives"].items():
        for user, tasks in given.items():
            differ = abs(Fraction(tasks) - parts[user]) > Fraction(1, 10**_DIGITS)
            whole = Fraction(tasks) != filled.tasks[user]
            yield Check(
                f"drf is not {policy}", f"tasks of {user}", f"not {tasks}", str(parts[user]), differ and whole
            )
    yield from _sharing_incentive(cases["sharing_incentive"])


def _sharing_incentive(given: dict[str, Any]) -> Iterator[Check]:
    case, capacity = "drf sharing incentive", given["capacity"]
    demands = given["demands"]
    filled = progressive_filling(capacity, demands)
    parts = divided(capacity, demands)
    for user in demands:
        yield _close(case, f"tasks of {user}", given["drf"][user], filled.tasks[user])
        yield _close(case, f"tasks of {user}, divisible", given["drf"][user], parts[user])
        yield _close(case, f"dominant share of {user}", Fraction(1, 2), filled.dominant_share[user])
        unfair = given["asset_fairness"][user] != parts[user]
        yield Check(
            case, f"not asset fairness, {user}", given["asset_fairness"][user], str(parts[user]), unfair
        )
        # Its own half of everything would hold so many of its tasks: DRF never gives less.
        alone = Fraction(1, len(demands)) / dominant_share(demands[user], capacity)
        yield Check(case, f"at least its half, {user}", f">= {alone}", str(parts[user]), parts[user] >= alone)


def _slurm(folder: Path) -> Iterator[Check]:
    given = _json(folder / "slurm_classic_fairshare.json")
    if given is None:
        return
    found = classic(
        _slurm_tree(given["shares"], given["actual_usage"]), total=1
    )  # usage as parts of all time
    case = "slurm classic fair-share"
    for name, usage in given["effective_usage"].items():
        # Published with up to four decimals.
        yield _close(case, f"effective usage of {name}", usage, found[name].usage, _decimals(usage))
    for user, factor in given["fairshare_F=2**(-UE/S)"].items():
        yield _close(case, f"factor of {user}", factor, found[user].factor)
    users = sorted(given["actual_usage"], key=lambda user: -found[user].factor)
    yield _same(case, "priority order", given["priority_order"], users)


def _slurm_tree(shares: dict[str, int], usage: dict[str, float], path: str = "") -> Account:
    """The tree that paths like `A/B/user1` tell."""
    inside = [p for p in shares if p.rpartition("/")[0] == path]
    members = tuple(_slurm_tree(shares, usage, p) for p in inside)
    name = path.rpartition("/")[2]
    return Account(name, shares.get(path, 1), Fraction(str(usage.get(name, 0))), members)


def _flux(folder: Path) -> Iterator[Check]:
    files = sorted((folder / "flux").glob("*.csv"))
    if not files:
        print(f"skipped: there is no {folder / 'flux'}", file=sys.stderr)
    for file in files:
        found = weighted_tree(_flux_tree(file))
        case = f"flux {file.stem}"
        expected = file.with_suffix("").with_suffix(".expected.txt")
        if expected.exists():
            for line in expected.read_text(encoding="utf-8").splitlines()[1:]:
                cells = line.split()
                if len(cells) == 6:
                    yield _close(case, cells[1], Fraction(cells[5]), found[cells[1]])
        order = _ORDERS.get(file.stem)
        if order is not None:
            yield _same(case, "order", order, _as_order(found))


def _as_order(found: dict[str, Fraction]) -> str:
    groups: dict[Fraction, list[str]] = {}
    for user, share in sorted(found.items(), key=lambda item: (-item[1], item[0])):
        groups.setdefault(share, []).append(user.removeprefix("leaf."))
    return " ".join(f"{{{' '.join(g)}}}" if len(g) > 1 else g[0] for g in groups.values())


def _flux_tree(file: Path) -> Account:
    """Rows `level,account,user,shares,usage`, in the order of a walk; `%^+_nouser` where it is an account."""
    rows = [line.split(",") for line in file.read_text(encoding="utf-8").split()]
    nodes = [
        (int(level), account if user == "%^+_nouser" else user, int(shares), int(usage))
        for level, account, user, shares, usage in rows
    ]

    def build(at: int) -> tuple[Account, int]:
        level, name, shares, usage = nodes[at]
        members, at = [], at + 1
        while at < len(nodes) and nodes[at][0] > level:
            member, at = build(at)
            members.append(member)
        return Account(name, shares, usage, tuple(members)), at

    return build(0)[0]


def _json(path: Path) -> Any:
    if not path.is_file():
        print(f"skipped: there is no {path}", file=sys.stderr)
        return None
    return json.loads(path.read_text(encoding="utf-8"))


def _decimals(number: float) -> int:
    return len(str(number).partition(".")[2])


def _same(case: str, what: str, expected: Any, got: Any) -> Check:
    return Check(case, what, expected, got, expected == got)


def _close(case: str, what: str, expected: Any, got: Any, digits: int = _DIGITS) -> Check:
    ok = abs(Fraction(expected) - Fraction(got)) <= Fraction(1, 2 * 10**digits) + Fraction(1, 10**12)
    return Check(case, what, float(expected), float(got), ok)


if __name__ == "__main__":
    harness.run(measure, show, data=str(data_folder()))
