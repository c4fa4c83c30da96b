"""The cost model: how long each call takes, and where that number comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place
from flowc.plan.history import Record
from flowc.plan.model import Estimate, Plan, Site


def estimate(plan: Plan, history: Sequence[Record]) -> Plan:
    """The plan with what was measured in earlier runs on its sites.

    Measurements of the same code come before what the operator declares, and that before measurements of
    earlier code. What is declared as a need stays: that a run took less is no promise.
    """
    if not history:
        return plan
    same = {(record.op, record.code): record for record in history}
    earlier = _best_by_operator(history)
    sites = tuple(
        msgspec.structs.replace(site, estimate=_estimate_of(site, same, earlier))
        if site.control in ("none", "map", "reduce")
        else site
        for site in plan.sites
    )
    return msgspec.structs.replace(plan, sites=sites)


def objections(plan: Plan, history: Sequence[Record], places: Mapping[str, Place]) -> list[Diagnostic]:
    """Warnings: a history of other operators (FC261), or one that belies what operators declare.

    More memory than is declared (FC302), more time than the limit (FC303), as far as it is of the same code.
    `places` are those of the sites.
    """
    if not history:
        return []
    found = []
    if not any(site.estimate.runs for site in plan.sites):
        hint = "`flowrun history` shows what is measured in a state folder"
        found.append(Diagnostic("FC261", "the history knows none of the plan's operators", hint=hint))
    same = {(record.op, record.code): record for record in history}
    for site in {site.op: site for site in reversed(plan.sites)}.values():  # the first of each operator
        measured = same.get((site.op, site.code))
        if measured is None:
            continue
        name, at = site.op.rpartition(":")[2], (Label(places[site.site]),)
        if 0 < site.needs.memory_mb < measured.peak_mb:
            message = f"`{name}` declares {site.needs.memory_mb} MB, and has taken {measured.peak_mb} MB"
            hint = f'declare `memory="{measured.peak_mb}MB"` or more'
            found.append(Diagnostic("FC302", message, at, hint=hint))
        on_gpus_mb = site.needs.gpu_memory_mb * max(site.needs.gpus, site.needs.gpus_max)
        if 0 < on_gpus_mb < measured.gpu_peak_mb:
            message = (
                f"`{name}` declares {on_gpus_mb} MB on its GPUs, and has taken {measured.gpu_peak_mb} MB"
            )
            each_mb = -(-measured.gpu_peak_mb * site.needs.gpu_memory_mb // on_gpus_mb)
            found.append(
                Diagnostic(
                    "FC302", message, at, hint=f'declare `gpu_memory="{each_mb}MB"` or more of each GPU'
                )
            )
        if 0 < site.timeout_ms < measured.wall_ms_p90:
            limit, took = _seconds(site.timeout_ms), _seconds(measured.wall_ms_p90)
            message = f"`{name}` may take {limit}, and one call in ten took {took} or longer"
            found.append(Diagnostic("FC303", message, at, hint="declare a longer `timeout`"))
    return [msgspec.structs.replace(d, severity="warning") for d in found]


def _estimate_of(
    site: Site, same: Mapping[tuple[str, str], Record], earlier: Mapping[str, Record]
) -> Estimate:
    record = same.get((site.op, site.code))
    if record is not None:
        return Estimate(_ms(record), "history", record.runs, record.peak_mb)
    record = earlier.get(site.op)
    if record is None or site.estimate.source == "declared":
        return site.estimate
    return Estimate(_ms(record), "earlier", record.runs, record.peak_mb)


def _ms(record: Record) -> int:
    """The time in the calls' own processes if it is known: what a call waited for is not its own."""
    return max(1, record.own_ms or record.wall_ms)


def _best_by_operator(history: Iterable[Record]) -> dict[str, Record]:
    """Of each operator the record of most calls."""
    ordered = sorted(history, key=lambda record: (record.runs, record.code))
    return {record.op: record for record in ordered}


def _seconds(ms: int) -> str:
    return f"{ms / 1000:g} s"
