"""A month of Meta's size through the whole scheduler: 600,000 jobs of 1,100 teams on 350,000 GPUs.

The jobs are made up, from a seed: sizes from one GPU to gangs on 128 hosts, lengths with a heavy tail, teams
of very different sizes of which some ask for more than their part, days with a morning and a night. What is
measured goes through placing on 43,750 hosts of 8 GPUs, shares, turns, tiers, headroom, promises and
backfilling with the users' estimates, which are up to three times too long, and preemption by tier 1 and by
who starves. Places are given out every `period` seconds.

Share error: of a team that has work waiting, how far what it holds is below what it is entitled to (0: not
at all, 1: it holds nothing), every six hours.
"""

from __future__ import annotations

import math
import random
import resource
import time
from typing import Any

import msgspec

from benchmarks import harness
from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Gpu
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.preempting import ByShares
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Sharing, Team
from flowrun.core.simulation.jobs import Course, Job, Replay
from flowrun.core.simulation.outcome import outcome, spread

GPUS_OF_HOST = 8
GPU_MB = 81_920
CPUS_OF_GPU, MB_OF_GPU = 12, 131_072
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
SIZES = {1: 400, 2: 100, 4: 100, 8: 250, 16: 60, 32: 40, 64: 30, 128: 13, 256: 5, 512: 1.5, 1024: 0.5}
TIERS = {1: 10, 2: 30, 3: 40, 4: 20}
SPREAD = 1.6  # of the logarithm of lengths: Philly's is as wide
LONGEST_MS = 15 * DAY_MS
SHORTEST_MS = 60_000


def measure(
    jobs: int, teams: int, hosts: int, days: int, load: float, period: int, seed: int
) -> dict[str, Any]:
    """Make the jobs, replay them, and say what came of it."""
    draw = random.Random(seed)
    began = time.process_time()
    names = {f"team-{i:04}": Team(weight=(i + 10) ** -0.9) for i in range(teams)}
    queue = make(draw, jobs, teams, hosts, days, load)
    sharing = Sharing(teams=names)
    capacity = {
        "cpus": hosts * GPUS_OF_HOST * CPUS_OF_GPU,
        "memory_mb": hosts * GPUS_OF_HOST * MB_OF_GPU,
        "gpus": hosts * GPUS_OF_HOST,
    }
    shares = Shares(sharing, capacity)
    order = Fair(shares, GPU_MB)
    host = Capacity(
        GPUS_OF_HOST * CPUS_OF_GPU,
        GPUS_OF_HOST * MB_OF_GPU,
        tuple(Gpu(i, "H100", GPU_MB, link=1) for i in range(GPUS_OF_HOST)),
    )
    notice_ms = round(sharing.preemption.notice_s * 1000)
    scheduler = Scheduler(Pool([host] * hosts), order, ByShares(order, saves=True), notice_ms)
    watch = Watch(scheduler, shares)
    play = Replay(queue, scheduler, period_ms=period * 1000, watch=watch.look)
    made = time.process_time()
    courses = play.run()
    took = time.process_time() - made
    return {
        "benchmark": "meta_month",
        "teams": teams,
        "gpus": hosts * GPUS_OF_HOST,
        **msgspec.to_builtins(outcome(queue, courses, hosts * GPUS_OF_HOST)),
        "waiting_by_tier": {tier: _waiting(queue, courses, tier) for tier in TIERS},
        "share_error": watch.figures(),
        "rounds": watch.rounds,
        "waiting_most": watch.most,
        "make_s": round(made - began, 1),
        "cpu_s": round(took, 1),
        "us_a_job": round(took / jobs * 1e6, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024**2, 2),
        **harness.machine(),
    }


def make(draw: random.Random, jobs: int, teams: int, hosts: int, days: int, load: float) -> list[Job]:
    """Jobs that ask for a part `load` of all GPU hours of the days."""
    sizes = draw.choices(list(SIZES), list(SIZES.values()), k=jobs)
    tiers = draw.choices(list(TIERS), list(TIERS.values()), k=jobs)
    asking = [(i + 10) ** -0.9 * draw.lognormvariate(0, 0.7) for i in range(teams)]
    owners = draw.choices(range(teams), asking, k=jobs)
    lengths = [draw.lognormvariate(0, SPREAD) for _ in range(jobs)]
    scale = _scale(sizes, lengths, hosts * GPUS_OF_HOST * days * DAY_MS * load)
    times = sorted(_moment(draw, days) for _ in range(jobs))
    needs = {size: _needs(size) for size in SIZES}
    made = []
    for at, size, tier, team, length in zip(times, sizes, tiers, owners, lengths, strict=True):
        lasts = _cut(length * scale)
        said = round(lasts * draw.uniform(1, 3))
        made.append(Job(at, needs[size], lasts, Lane(team, tier), 0, said, size))
    return made


class Watch:
    """Looks at the teams every six hours."""

    EVERY_MS = 6 * HOUR_MS

    def __init__(self, scheduler: Scheduler, shares: Shares) -> None:
        self._scheduler = scheduler
        self._shares = shares
        self._next_ms = 0
        self._errors: list[float] = []
        self.rounds = 0
        self.most = 0

    def look(self, now_ms: int) -> None:
        """After a round."""
        self.rounds += 1
        if now_ms < self._next_ms:
            return
        self._next_ms = now_ms + self.EVERY_MS
        self.most = max(self.most, len(self._scheduler.queue))
        waiting = {lane.team for lane, heads in self._scheduler.queue.heads.items() if heads}
        self._errors += [max(0.0, -self._shares.above(team)) for team in sorted(waiting)]

    def figures(self) -> dict[str, float]:
        """Mean, median and 95th percentile of the share errors, and of how many moments and teams."""
        errors = sorted(self._errors) or [0.0]
        count = len(errors)
        return {
            "mean": round(sum(errors) / count, 4),
            "median": round(errors[count // 2], 4),
            "p95": round(errors[int(count * 0.95)], 4),
            "samples": len(self._errors),
        }


def _needs(size: int) -> Resources:
    return Resources(
        cpus=size * CPUS_OF_GPU,
        memory_mb=size * MB_OF_GPU,
        gpus=size,
        hosts_max=max(1, size // GPUS_OF_HOST * 2),
    )


def _scale(sizes: list[int], lengths: list[float], wanted: float) -> float:
    """What lengths have to be multiplied with, cut at both ends, to be as much work as is wanted."""
    low, high = 1.0, float(LONGEST_MS)
    while high / low > 1.001:
        middle = math.sqrt(low * high)
        work = sum(size * _cut(length * middle) for size, length in zip(sizes, lengths, strict=True))
        low, high = (middle, high) if work < wanted else (low, middle)
    return low


def _cut(length_ms: float) -> int:
    return round(min(max(length_ms, SHORTEST_MS), LONGEST_MS))


def _moment(draw: random.Random, days: int) -> int:
    """By day there is more to do than by night, and less at the weekend."""
    while True:
        at = draw.random() * days
        busy = 0.7 + 0.3 * math.sin((at % 1 - 0.3) * 2 * math.pi) - (0.25 if int(at) % 7 >= 5 else 0)
        if draw.random() < busy:
            return round(at * DAY_MS)


def _waiting(jobs: list[Job], courses: list[Course], tier: int) -> dict[str, float]:
    waits = [
        course.ended_ms - job.submit_ms - job.duration_ms
        for job, course in zip(jobs, courses, strict=True)
        if job.lane.tier == tier
    ]
    return {"jobs": len(waits), **msgspec.to_builtins(spread(waits))}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    error = figures["share_error"]
    lines = [
        f"{figures['jobs']} jobs, {figures['teams']} teams, {figures['gpus']} GPUs:"
        f" {figures['cpu_s']:.0f} s of CPU, {figures['us_a_job']:.0f} us a job, {figures['peak_gb']:.2f} GB",
        f"{figures['utilisation']:.1%} in use, {figures['waiting_most']} waiting at most,"
        f" {figures['preemptions']} preemptions, {figures['long_waits']} waited more than 10 times their"
        f" length and an hour, {figures['starved']} and a day",
        f"share error of teams with waiting work: mean {error['mean']:.1%}, median {error['median']:.1%},"
        f" 95th percentile {error['p95']:.1%}",
        "waiting    jobs   average    median       p99    longest (s)",
    ]
    lines += [
        f"tier {tier}{row['jobs']:>9}{row['average']:>10.0f}{row['median']:>10.0f}{row['p99']:>10.0f}"
        f"{row['longest']:>11.0f}"
        for tier, row in figures["waiting_by_tier"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    size = {"jobs": 600_000, "teams": 1_100, "hosts": 43_750, "days": 30}
    harness.run(measure, show, **size, load=0.95, period=60, seed=1)
