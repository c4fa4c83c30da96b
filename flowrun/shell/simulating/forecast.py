"""A simulation as text for people."""

from __future__ import annotations

from typing import Any

import msgspec

from flowc.plan.text import columns, counted
from flowrun.core.bottleneck import Findings
from flowrun.core.simulation.answers import Assumption
from flowrun.core.simulation.whatif import PAYS, Deadline, Dimension, Reach, Sweep
from flowrun.shell.amounts import duration, share, size
from flowrun.shell.chart import terminal
from flowrun.shell.chart.words import NAMES, bottleneck, bound, chain, conclusions
from flowrun.shell.host.devices import describe
from flowrun.shell.simulating.simulate import Outcome

_MOST_NAMED = 8  # sites, assumptions


def text(outcome: Outcome, wide: int) -> str:
    """The whole answer."""
    lines = [f"{headline(outcome)}, {counted(outcome.nodes, 'node')}", bound(outcome.findings), ""]
    lines += terminal.draw(outcome.timeline, wide, set(outcome.findings.chain))
    lines += ["", *conclusions(outcome.findings)]
    granted = _granted(outcome)
    if granted:
        lines += ["", "taken for granted", *(f"  {line}" for line in granted)]
    for swept in outcome.sweeps:
        lines += ["", *_sweep(swept)]
    if outcome.deadline is not None:
        lines += ["", *_deadline(outcome.deadline)]
    return "\n".join(lines)


def headline(outcome: Outcome) -> str:
    """One line: what, how long, on what."""
    return f"{outcome.workflow}: {duration(outcome.findings.makespan_ms)} on {describe(outcome.capacity)}"


def _granted(outcome: Outcome) -> list[str]:
    lines = []
    unknown = outcome.unknown
    if unknown.sites:
        sites = ", ".join(f"`{site}`" for site in unknown.sites[:_MOST_NAMED])
        more = ", ..." if len(unknown.sites) > _MOST_NAMED else ""
        taken = (
            f"{counted(unknown.nodes, 'node')} of {counted(len(unknown.sites), 'site')} without an estimate"
        )
        lines.append(f"{taken} take {duration(unknown.taken_ms)} each: {sites}{more}")
    told = [assumption for assumption in outcome.assumptions if assumption.reason != "known"]
    lines += [_assumption(assumption) for assumption in told[:_MOST_NAMED]]
    if len(told) > _MOST_NAMED:
        lines.append(f"... and {len(told) - _MOST_NAMED} more of this kind")
    lines += [f"`{site}` takes longer than its time limit: a run would end it" for site in outcome.too_long]
    return lines


def _assumption(assumption: Assumption) -> str:
    node, answer = assumption.node, assumption.answer
    if isinstance(answer, bool):
        says, example = f"the condition `{node}` {'holds' if answer else 'does not hold'}", "otherwise"
    else:
        says, example = f"`{node}` has {counted(answer, 'item')}", "N"
    why = {"given": "as given", "history": "as in earlier runs"}.get(assumption.reason)
    return f"{says}, {why}" if why else f"{says} (`--assume {node}={example}` for another answer)"


def _sweep(swept: Sweep) -> list[str]:
    played = [point.findings for point in swept.points if point.findings is not None]
    dimensions = list(played[0].use) if played else []
    rows: list[tuple[str, ...]] = [
        (swept.dimension, "makespan", "faster", *(f"{name} held" for name in dimensions), "bottleneck")
    ]
    for point in swept.points:
        amount = size(point.amount) if swept.dimension == "memory" else f"{point.amount:g}"
        if point.findings is None:
            rows.append((amount, "-", "", *("" for _ in dimensions), point.refusal))
            continue
        found = point.findings
        faster = f"{played[0].makespan_ms / max(1, found.makespan_ms):.2f} x"
        held = (share(found.use.get(name, 0.0)) for name in dimensions)
        rows.append((amount, duration(found.makespan_ms), faster, *held, _in_a_word(found)))
    return [*columns(rows), *_pays(swept)]


def _pays(swept: Sweep) -> list[str]:
    enough, name = swept.enough, NAMES[swept.dimension]
    if enough is None or enough.findings is None:
        return []
    amount = (
        f"{size(enough.amount)} of memory" if swept.dimension == "memory" else f"{enough.amount:g} {name}"
    )
    return [f"more than {amount} does not pay: it is less than {share(PAYS)} faster"]


def _in_a_word(found: Findings) -> str:
    return bottleneck(found).partition(":")[0].partition(",")[0]


def _deadline(found: Deadline) -> list[str]:
    wanted = duration(found.deadline_ms)
    if not found.reaches:
        least = found.unlimited
        went = f"running {duration(least.parts.get('running', 0))}"
        went += f", starting {duration(least.parts.get('starting', 0))}"
        took = f"where nothing waits for room, it takes {duration(least.makespan_ms)} ({went})"
        return [
            f"{wanted} cannot be met with any number of CPUs and GPUs: {took}",
            f"the longest path takes {duration(least.longest_path_ms)}: {chain(least.chain)}",
        ]
    late = "met" if found.given_ms <= found.deadline_ms else "missed"
    lines = [f"{wanted} is {late} as given, in {duration(found.given_ms)}"]
    would_do = [f"  {_amounts(reach)} would do, in {duration(reach.makespan_ms)}" for reach in found.reaches]
    return lines + would_do


def _amounts(reach: Reach) -> str:
    return ", ".join(_amount(dimension, amount) for dimension, amount in reach.amounts.items())


def _amount(dimension: Dimension, amount: int) -> str:
    if dimension == "memory":
        return f"{size(amount)} of memory"
    return counted(amount, dimension[:-1].upper())


def told(outcome: Outcome) -> list[str]:
    """What a drawing says below its title."""
    return [bound(outcome.findings), f"bottleneck: {bottleneck(outcome.findings)}"]


def plain(outcome: Outcome) -> dict[str, Any]:
    """For machines: all of it, with the start and the end of every node."""
    found: dict[str, Any] = msgspec.to_builtins(outcome)
    found["findings"]["bound_ms"] = outcome.findings.bound_ms
    found["findings"]["bottleneck"] = bottleneck(outcome.findings)
    found["schedule"] = [
        {"node": i.node, "start_ms": i.start_ms, "end_ms": i.end_ms, "gpus": i.placement.gpus}
        for i in outcome.timeline.intervals
    ]
    return found
