"""What has to hold before a plan is executed: of this host, of its environment."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowc.plan.host import lacking, nearest
from flowc.plan.model import Plan, site_of
from flowc.plan.packages import installed
from flowrun.core.model import Capacity
from flowrun.core.pool import can_ever_fit


def versions_for(plan: Plan) -> dict[str, str]:
    """The installed versions of the packages that a plan's operators import."""
    return installed({package for code in plan.codes for package in code.packages})


def demand_feasible(plan: Plan, capacity: Capacity) -> None:
    """Refuse (FR110) a plan with sites that the whole host could not run, and say which and why."""
    spans = {span.site: span for span in plan.spans}
    problems = []
    for site in plan.sites:
        if can_ever_fit(site.needs, capacity) is not None:
            message = f"`{site.site}` can never run on this host: it needs {lacking(site.needs, capacity)}"
            fits = nearest(site.needs, capacity)
            hint = f"it would fit with `{fits}`; or run the plan on a larger host"
            problems.append(
                Diagnostic("FR110", message, (Label(Place.parse(spans[site.site].at)),), hint=hint)
            )
    if problems:
        raise Refused(*problems)


def demand_forms(plan: Plan) -> None:
    """Refuse (FR160) a plan with sites whose results have no stored form but a pickle."""
    spans = {span.site: span for span in plan.spans}
    problems = []
    for site in plan.sites:
        if site.pickles:
            classes = " and ".join(f"`{name}`" for name in site.pickles)
            message = f"what `{site.site}` gives would be pickled: {classes}"
            label = Label(Place.parse(spans[site.site].at))
            hint = "execute it without `--no-pickle`, or see `flowc explain FC262` for other forms"
            problems.append(Diagnostic("FR160", message, (label,), hint=hint))
    if problems:
        raise Refused(*problems)


def demand_environment(plan: Plan, environment: Mapping[str, str]) -> None:
    """Refuse (FR112) a plan whose operators read environment variables or secrets that are not set."""
    spans = {span.site: span for span in plan.spans}
    wanting: dict[str, list[Label]] = {}
    for site in plan.sites:
        for name in (*site.secrets, *site.env):
            if name not in environment:
                wanting.setdefault(name, []).append(Label(Place.parse(spans[site.site].at)))
    problems = [
        Diagnostic(
            "FR112",
            f"the environment variable `{name}` is not set",
            tuple(places[:3]),
            hint=f"set it where `flowrun` is started: `export {name}=...`",
        )
        for name, places in sorted(wanting.items())
    ]
    if problems:
        raise Refused(*problems)


def demand_named(plan: Plan, refresh: Iterable[str]) -> None:
    """Refuse (FR165) to compute afresh what is no node of a plan, no site and no node of a loop."""
    loops = {site.site for site in plan.sites if site.control in ("map", "reduce")}
    known = {site.site for site in plan.sites} | {node.id for node in plan.nodes}
    unknown = [name for name in refresh if name not in known and site_of(name) not in loops]
    if not unknown:
        return
    import difflib

    problems = []
    for name in unknown:
        close = difflib.get_close_matches(name, known, 1)
        shown = ", ".join(f"`{site.site}`" for site in plan.sites[:20])
        hint = f"did you mean `{close[0]}`?" if close else f"its nodes are of {shown}"
        problems.append(Diagnostic("FR165", f"`--refresh {name}`: the plan has no such node", hint=hint))
    raise Refused(*problems)
