"""Simulated runs as short text: graphs as in `graphs`, times as `{"site": ms}`."""

import graphs

from flowrun.core.simulation.answers import Answers
from flowrun.core.simulation.costs import Cost, Costs
from flowrun.core.simulation.world import simulate


def costs(plan, times, modules=None, start_ms=0, fork_ms=0):
    """Every site takes its time, or 100 ms."""
    sites = {site.site: Cost(times.get(site.site, 100), "declared") for site in plan.sites}
    return Costs(sites, modules or {}, start_ms, fork_ms)


def played(text, times=None, on=None, inputs=None, assume=None, chance=None, **overhead):
    """The simulated run of a graph; without overhead unless it is given."""
    plan = graphs.plan(text) if isinstance(text, str) else text
    answers = Answers(inputs or {}, assume)
    return simulate(
        plan, inputs or {}, on or graphs.host(), costs(plan, times or {}, **overhead), answers, chance
    )


def timeline(simulated):
    """`["a 0-100", "b 100-250"]`, by start."""
    return [f"{i.node} {i.start_ms}-{i.end_ms}" for i in simulated.timeline.intervals]
