"""`flowrun simulate`: how a plan would go on a host, and what another host would make of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from random import Random

import msgspec

from flowc.plan import codec
from flowc.plan.diagnostics import refuse
from flowc.plan.history import read_all
from flowc.plan.model import Plan, site_of
from flowc.plan.registry import examine
from flowrun.core.bottleneck import Findings, findings
from flowrun.core.inputs import bind
from flowrun.core.model import Capacity, Inputs
from flowrun.core.simulation.answers import MOST_ITEMS, Answers, Assumption
from flowrun.core.simulation.costs import DEFAULT_MS, Costs, costs_of
from flowrun.core.simulation.whatif import DIMENSIONS, Deadline, Dimension, Sweep, least, sweep
from flowrun.core.simulation.world import Chance, Simulated, simulate
from flowrun.core.timeline import Timeline
from flowrun.shell.amounts import duration_ms, size_mb
from flowrun.shell.demands import demand_feasible
from flowrun.shell.host import devices

_MOST_HOSTS = 100  # of a sweep
_TRUTHS = {"then": True, "true": True, "otherwise": False, "false": False}


class Request(msgspec.Struct, frozen=True):
    """What the command line asks for."""

    plan: Path
    devices: str = ""
    inputs: tuple[str, ...] = ()
    history: Path | None = None
    assume: tuple[str, ...] = ()
    seed: int | None = None
    sweeps: tuple[str, ...] = ()
    deadline: str = ""


class Unknown(msgspec.Struct, frozen=True):
    """Sites of which nothing tells how long they take, and how many of the nodes that ran are theirs."""

    sites: tuple[str, ...]
    nodes: int
    taken_ms: int


class Outcome(msgspec.Struct, frozen=True):
    """All that a simulation says; `timeline` is for drawing, the rest for people and machines."""

    workflow: str
    capacity: Capacity
    findings: Findings
    nodes: int
    unknown: Unknown
    assumptions: tuple[Assumption, ...]
    too_long: tuple[str, ...]
    sweeps: tuple[Sweep, ...]
    deadline: Deadline | None
    timeline: Timeline


def run(request: Request) -> Outcome:
    """Simulate what is asked for; `Refused` tells what makes no sense."""
    sweeps = [_sweep_of(text) for text in request.sweeps]
    deadline = _deadline_of(request.deadline) if request.deadline else 0
    plan = codec.read(request.plan)
    capacity = capacity_of(request.devices)
    history = read_all(request.history) if request.history else None
    given = _assumed(plan, request.assume)
    inputs = _inputs(plan, request.inputs)
    demand_feasible(plan, capacity)
    costs = costs_of(plan, history)

    def play(plan: Plan, capacity: Capacity) -> Simulated:
        chance = _chance(request.seed) if request.seed is not None else None
        return simulate(plan, inputs, capacity, costs, Answers(inputs, given, history), chance)

    def timeline(plan: Plan, capacity: Capacity) -> Timeline:
        return play(plan, capacity).timeline

    swept = tuple(sweep(plan, capacity, dimension, amounts, timeline) for dimension, amounts in sweeps)
    met = least(plan, capacity, deadline, timeline) if deadline else None
    played = play(plan, capacity)
    return Outcome(
        plan.header.name,
        capacity,
        findings(played.timeline),
        len(played.timeline.intervals),
        _unknown(costs, played.timeline),
        tuple(played.assumptions),
        _too_long(plan, costs),
        swept,
        met,
        played.timeline,
    )


def capacity_of(specification: str) -> Capacity:
    """The host that is simulated: as described, or this one."""
    return devices.host(specification)


def _chance(seed: int) -> Chance:
    """The same draw for a node on every host, so that hosts are compared with equal luck."""
    return lambda node: Random(f"{seed} {node}").gauss(0.0, 1.0)


def _inputs(plan: Plan, given: Sequence[str]) -> Inputs:
    """The inputs that are known: a simulation can do without the others."""
    header = plan.header
    names = {text.partition("=")[0].strip() for text in given}
    known = {name: of for name, of in header.inputs.items() if not of.required or name in names}
    unknown = header.inputs.keys() - known.keys()
    if any(name in unknown or name not in header.inputs for name in names):
        known = header.inputs  # a slip: have all of it said
    classes = {structure.type: structure for structure in plan.structures}
    return bind(msgspec.structs.replace(header, inputs=known), given, None, classes, examine)


def _assumed(plan: Plan, given: Sequence[str]) -> dict[str, int | bool]:
    """`NODE=10` for loops, `NODE=then` or `NODE=otherwise` for branches; FR132 for anything else."""
    control = {site.site: site.control for site in plan.sites if site.control != "none"}
    nodes = {node.id for node in plan.nodes}
    found: dict[str, int | bool] = {}
    for text in given:
        name, _, answer = text.partition("=")
        of = control.get(site_of(name)) if name in nodes or name in control else None
        if of in ("map", "reduce") and answer.isdecimal() and int(answer[:9]) <= MOST_ITEMS:
            found[name] = int(answer)
        elif of == "branch" and answer in _TRUTHS:
            found[name] = _TRUTHS[answer]
        else:
            asking = [f"`{site}`" for site, kind in control.items() if kind != "choose"]
            known = f"the plan leaves open {', '.join(asking)}" if asking else "the plan leaves nothing open"
            kinds = f"NODE=10 for a loop (at most {MOST_ITEMS:,}), NODE=then or NODE=otherwise for a branch"
            refuse("FR132", f"`--assume {text}` fits nothing", hint=f"{kinds}; {known}")
    return found


def _sweep_of(text: str) -> tuple[Dimension, list[float]]:
    """`gpus=1,2,4`, `cpus=8,16`, `memory=64GB,128GB`; FR130 for anything else."""
    name, _, values = text.partition("=")
    amounts = [_amount(name, value.strip()) for value in values.split(",")]
    if name not in DIMENSIONS or None in amounts or len(amounts) > _MOST_HOSTS:
        hint = "for example `--sweep gpus=1,2,4,8`, `--sweep cpus=8,16,32` or `--sweep memory=64GB,128GB`"
        refuse("FR130", f"`--sweep {text}` is not a dimension and its amounts", hint=hint)
    dimension = next(dimension for dimension in DIMENSIONS if dimension == name)
    return dimension, [amount for amount in amounts if amount is not None]


def _amount(name: str, text: str) -> float | None:
    if name == "memory":
        size = size_mb(text)
        return size if size else None
    try:
        amount = float(text)
    except ValueError:
        return None
    whole = name == "gpus"
    limit = 100_000 if whole else 999_999
    return amount if 0 < amount <= limit and (not whole or amount == int(amount)) else None


def _deadline_of(text: str) -> int:
    """`2h`, `90min`; FR131 for anything else."""
    found = duration_ms(text)
    if not found:
        hint = "for example `--deadline 2h`, `90min` or `1h30m`"
        refuse("FR131", f"`--deadline {text}` is not a time", hint=hint)
    return found


def _unknown(costs: Costs, timeline: Timeline) -> Unknown:
    sites = [site for site, cost in costs.sites.items() if cost.source == "default"]
    nodes: dict[str, int] = {}
    for interval in timeline.intervals:
        nodes[interval.site] = nodes.get(interval.site, 0) + 1
    unknown = tuple(site for site in sites if site in nodes)
    return Unknown(unknown, sum(nodes[site] for site in unknown), DEFAULT_MS)


def _too_long(plan: Plan, costs: Costs) -> tuple[str, ...]:
    """Sites that are expected to take longer than they may."""
    return tuple(s.site for s in plan.sites if 0 < s.timeout_ms < math.floor(costs.sites[s.site].ms))
