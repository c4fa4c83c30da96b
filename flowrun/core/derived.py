"""What a run's state is made of besides its plan: all that follows from the plan, its inputs and versions."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from flowc.plan.graph import ancestors, bottom_levels, dependencies, dependents, weights
from flowc.plan.model import Plan
from flowrun.core.keys import node_keys
from flowrun.core.model import Inputs


class Derived(msgspec.Struct, frozen=True):
    """Lists by node, in the plan's order. It takes longer to compute than to send to another process."""

    sites: list[int]  # whose call a node is, by its place among the plan's sites
    keys: list[str]
    dependents: list[list[int]]
    missing: list[int]  # for how many others a node waits
    priorities: list[float]


def derive(plan: Plan, inputs: Inputs, versions: Mapping[str, str] | None = None) -> Derived:
    """Compute it; `versions` are those of the installed packages that operators import."""
    place = {site.site: i for i, site in enumerate(plan.sites)}
    depends_on = dependencies(plan.nodes)
    # What is on the longest way to the end goes first: in time, as far as the plan knows times.
    priorities = bottom_levels(depends_on, weights(plan))
    for i, node in enumerate(plan.nodes):
        if node.trigger != "success":
            # A node can be blocked or cancelled while others that it waits for are still running.
            depends_on[i] = ancestors(depends_on, i)
    return Derived(
        [place[node.site] for node in plan.nodes],
        node_keys(plan, inputs, versions),
        dependents(depends_on),
        [len(sources) for sources in depends_on],
        priorities,
    )
