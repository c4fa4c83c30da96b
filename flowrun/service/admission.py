"""What may be queued: whose it is, how important, and whether there is room for it."""

from __future__ import annotations

import difflib

from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, refuse
from flowc.plan.model import Plan
from flowc.plan.text import counted
from flowrun.core.changes import Submission
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.request import Lane
from flowrun.core.sharing.admission import admitted
from flowrun.core.sharing.teams import DEFAULT_TEAM, Sharing, tier_of

MOST_PRIORITY = 1000


def submission(sharing: Sharing, team: str, tier: int, priority: int) -> Submission:
    """Whose a run is, and how important; `Refused` if there is no such team (FR142) or tier (FR144)."""
    teams = sharing.teams
    if not team:
        team = DEFAULT_TEAM if DEFAULT_TEAM in teams else next(iter(teams))
        if len(teams) > 1 and team != DEFAULT_TEAM:
            refuse("FR142", "it is not said for which team", hint=f"add `--team`: {_names(sharing)}")
    if team not in teams:
        close = difflib.get_close_matches(team, teams, 1)
        hint = f"did you mean `{close[0]}`?" if close else f"there is {_names(sharing)}"
        refuse("FR142", f"there is no team `{team}`", hint=hint)
    parts = [name for name, other in teams.items() if other.parent == team]
    if parts:  # what is its own has no share beside theirs
        named = ", ".join(f"`{name}`" for name in parts[:20])
        refuse("FR142", f"team `{team}` only stands for its parts", hint=f"submit for one of them: {named}")
    tiers = len(sharing.tiers.weights)
    if not 0 <= tier <= tiers:
        refuse("FR144", f"there is no tier {tier}", hint=f"tiers are 1 to {tiers}; 1 is the most important")
    if abs(priority) > MOST_PRIORITY:
        hint = f"priorities are -{MOST_PRIORITY} to {MOST_PRIORITY}"
        refuse("FR144", f"the priority {priority} is out of bounds", hint=hint)
    return Submission(team, tier or tier_of(sharing, team), priority)


def demand_allowed(plan: Plan, of: Submission, order: Fair) -> None:
    """Refuse (FR149) a plan with sites that the limits of its team or tier would never let run."""
    spans = {span.site: span for span in plan.spans}
    lane = Lane(order.shares.index[of.team], of.tier)
    problems = []
    for site in plan.sites:
        rejected = order.ever_allowed(lane, site.needs)
        if rejected is not None:
            message = f"`{site.site}` can never run for team `{of.team}` in tier {of.tier}: {rejected}"
            hint = "lower what its operator declares, or see to the limits in the team configuration"
            label = Label(Place.parse(spans[site.site].at))
            problems.append(Diagnostic("FR149", message, (label,), hint=hint))
    if problems:
        raise Refused(*problems)


def demand_room(sharing: Sharing, team: str, waiting_of_team: int, waiting: int, more: int) -> None:
    """Refuse (FR143) what is too much beside what waits already."""
    rejected = admitted(sharing, team, waiting_of_team, waiting, more)
    if rejected is not None:
        own = "all teams" not in rejected.dimension
        beside = waiting_of_team if own else waiting
        of = f"team `{team}`" if own else "all teams"
        refuse(
            "FR143",
            f"the queue of {of} has room for {rejected.have:g} nodes: {counted(beside, 'node')} "
            f"{'waits' if beside == 1 else 'wait'}, and this run has {more}",
            hint="submit it again when some of that has run (`flowrun queue`), or cancel what is not needed",
        )


def _names(sharing: Sharing) -> str:
    return ", ".join(f"`{name}`" for name in list(sharing.teams)[:20])
