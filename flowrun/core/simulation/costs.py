"""How long the calls of a plan are going to take, and where each number comes from."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import msgspec

from flowc.plan.history import History, Record, Runner
from flowc.plan.model import Origin, Plan, Site

DEFAULT_MS = 1000  # of what nothing is known; what `flowc.plan.graph.weights` takes it for, too
# What the runner adds to a call where no history tells: until its process runs, and what that holds up the
# next. Of 64 calls side by side that return at once, in a project that imports nothing, on a busy machine of
# 2 CPUs, most had a process that was warm, and took less than a millisecond together.
START_MS = 1
FORK_MS = 0
_NORMAL_P90 = 1.2816  # the 90th percentile of the standard normal distribution


class Cost(msgspec.Struct, frozen=True):
    """What a call takes: `ms` in its own process, and what comes on top.

    `adds_start`: the number was not measured with what the runner adds. `spread` is the deviation of the
    logarithm of the time, as far as a history tells (a log-normal distribution with its median and p90).
    """

    ms: float
    source: Origin
    adds_start: bool = True
    spread: float = 0.0


class Costs(msgspec.Struct, frozen=True):
    """What everything takes: the calls of each site, loading modules, and starting a process."""

    sites: Mapping[str, Cost]
    modules: Mapping[str, int] = {}
    start_ms: float = START_MS
    fork_ms: float = FORK_MS


def costs_of(plan: Plan, history: History | None = None) -> Costs:
    """What a history tells, then what the plan does.

    As the compiler sees it (`flowc/estimates.py`): measured with the same code, declared, measured with
    earlier code, nothing known.
    """
    history = history or History()
    same = {(record.op, record.code): record for record in history.records}
    earlier = {record.op: record for record in sorted(history.records, key=lambda r: (r.runs, r.code))}
    sites = {
        site.site: _cost(site, same.get((site.op, site.code)), earlier.get(site.op)) for site in plan.sites
    }
    runner = history.runner if history.runner.runs else Runner(0, START_MS, FORK_MS)
    return Costs(sites, history.modules, runner.start_ms, runner.fork_ms)


def _cost(site: Site, same: Record | None, earlier: Record | None) -> Cost:
    if same is not None:
        return _measured(same, "history")
    stated = site.estimate
    if stated.source in ("default", "earlier") and earlier is not None:
        return _measured(earlier, "earlier")
    if stated.source == "default" or not stated.ms:
        return Cost(DEFAULT_MS, "default")
    return Cost(stated.ms, stated.source)


def _measured(record: Record, source: Origin) -> Cost:
    own, ms = bool(record.own_ms), record.own_ms or record.wall_ms
    p90 = record.own_ms_p90 if own else record.wall_ms_p90
    return Cost(max(1, ms), source, own, _spread(ms, p90))


def _spread(median: int, p90: int) -> float:
    return max(0.0, log(p90 / median) / _NORMAL_P90) if median and p90 else 0.0
