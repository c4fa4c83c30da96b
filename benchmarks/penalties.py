"""How near teams come to what they are entitled to, by the two penalties and the weight that they are given.

Teams with weights from 1 to 1/100 have work at all times: of one of three priorities, 1 to 16 GPUs, 10
minutes to 4 hours. Whenever it fits, the team whose turn it is starts. After half a day to settle, the use of
each team over the rest is compared with its entitlement.
"""

from __future__ import annotations

import random
import time
from heapq import heappop, heappush
from typing import Any

from benchmarks import harness
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Sharing, Team, Tiers
from flowrun.core.sharing.turns import Turns

_CASES = [("relative", weight) for weight in (1, 10, 100)] + [
    ("absolute", weight) for weight in (1, 10, 100, 1000)
]
_HOUR_MS = 3_600_000
_SETTLED_MS = 12 * _HOUR_MS
_TIER = 3


def measure(teams: int, gpus: int, days: int, seed: int) -> dict[str, Any]:
    """Simulate each penalty with each weight."""
    rows = []
    for violation, weight in _CASES:
        fairness = Fairness(weight, "relative" if violation == "relative" else "absolute")
        began = time.process_time()
        error, started = _deviation(fairness, teams, gpus, days, seed)
        us = (time.process_time() - began) / started * 1e6
        rows.append(
            {"violation": violation, "weight": weight, "deviation": round(error, 4), "us": round(us, 1)}
        )
    return {"benchmark": "penalties", "teams": teams, "gpus": gpus, "rows": rows, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = ["mean deviation of a team's use from its entitlement; CPU time for each task, all told"]
    lines += [
        f"{row['violation']:<9} weight {row['weight']:>5}  {row['deviation']:>6.1%}  {row['us']:>6.1f} us"
        for row in figures["rows"]
    ]
    return "\n".join(lines)


def _deviation(fairness: Fairness, teams: int, gpus: int, days: int, seed: int) -> tuple[float, int]:
    """The mean of |use / entitlement - 1|, and how many tasks were started."""
    rng = random.Random(seed)
    sharing = Sharing(
        {f"t{i}": Team(weight=1 / (i % 100 + 1)) for i in range(teams)}, Tiers(headroom=0), fairness
    )
    shares = Shares(sharing, {"gpus": gpus})
    turns = Turns(shares)
    for team in range(teams):
        turns.wait(team, _TIER, rng.randrange(3), 0, 0)
    sizes = [rng.choice((1, 1, 2, 4, 8, 16)) for _ in range(teams)]  # of each team's next task
    ends: list[tuple[int, int, int]] = []
    used = [0.0] * teams  # GPU milliseconds, once settled
    now, free, started = 0, gpus, 0
    while now < days * 24 * _HOUR_MS:
        while (turn := turns.next(now)) is not None and sizes[turn.team] <= free:
            team, size = turn.team, sizes[turn.team]
            end = now + rng.randrange(_HOUR_MS // 6, 4 * _HOUR_MS)
            shares.start(team, _TIER, (size,))
            used[team] += size * max(0, end - max(now, _SETTLED_MS))
            free, started = free - size, started + 1
            heappush(ends, (end, team, size))
            sizes[team] = rng.choice((1, 1, 2, 4, 8, 16))
            turns.wait(team, _TIER, rng.randrange(3), now, now)
        now, team, size = heappop(ends)
        shares.end(team, _TIER, (size,))
        free += size
    entitled = [entitlement.parts[0] for entitlement in shares.entitled]
    deviations = [abs(u / sum(used) / part - 1) for u, part in zip(used, entitled, strict=True)]
    return sum(deviations) / teams, started


if __name__ == "__main__":
    harness.run(measure, show, teams=110, gpus=35_000, days=3, seed=1)
