"""`flowrun execute`: from a plan file and inputs to an execution and its summary."""

from __future__ import annotations

import os
import select
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from flowc.plan import codec
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, print_refusal, refuse
from flowc.plan.host import lacking, nearest
from flowc.plan.model import Plan, site_of
from flowc.plan.packages import installed
from flowc.plan.registry import examine
from flowc.plan.text import counted
from flowrun.core import pool as places
from flowrun.core.changes import CancelRequested, Earlier, Opened
from flowrun.core.failures import MAX_LOSSES
from flowrun.core.fleet import Fleet
from flowrun.core.inputs import bind
from flowrun.core.model import Capacity, Inputs
from flowrun.core.pool import can_ever_fit
from flowrun.core.resume import adopt, carry_over
from flowrun.core.reuse import Cache
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import Shared, State
from flowrun.shell.clock import now_ms
from flowrun.shell.execution import Execution, Watcher, prepare
from flowrun.shell.host import devices
from flowrun.shell.host.affinity import Cpus
from flowrun.shell.host.leases import Leases
from flowrun.shell.log.runlog import Home, RunLock, RunLog
from flowrun.shell.loop import Loop, Signals
from flowrun.shell.readiness import Readiness
from flowrun.shell.showing.report import failures, is_result_damaged, report
from flowrun.shell.showing.views import summary
from flowrun.shell.showing.watchers import JsonWatcher, LiveWatcher, PlainWatcher, say
from flowrun.shell.workers.forkserver import ZygoteProcess
from flowrun.shell.workers.pool import Pool

if TYPE_CHECKING:
    from flowrun.shell.exporting.sending import Exports

_EXIT_STATUS = {"succeeded": 0, "failed": 1, "cancelled": 130}
DEFAULT_STATE = Path(".flow")


class Request(msgspec.Struct, frozen=True):
    """What the command line asks for.

    Without a `plan` it is that of the run to `resume`, in which `again` names nodes that are to run once
    more, or that of the run that a new one is to be `like`.
    """

    plan: Path | None
    inputs: tuple[str, ...] = ()
    resume: str = ""
    devices: str = ""
    state: Path = DEFAULT_STATE
    as_json: bool = False
    explain_schedule: bool = False
    cached: bool = True
    refresh: tuple[str, ...] = ()
    no_pickle: bool = False
    again: tuple[str, ...] = ()
    like: str = ""
    tags: tuple[str, ...] = ()
    dry: bool = False  # only say what would run
    on_end: tuple[str, ...] = ()  # commands and URLs that are told of the end
    otel: str = ""
    openlineage: str = ""


def launch(request: Request, zygote: ZygoteProcess) -> int:
    """Execute a plan and show how it goes; the exit status."""
    readiness = Readiness()
    pool = Pool(zygote, readiness)
    try:
        home = Home(request.state)
        tags = _tags(request.tags)
        targets = _targets(request)
        plan, file, before, lock = _begin(home, request)
        inputs = bound(plan, request.inputs, before)
        prepare(pool, plan, home)
        capacity = devices.host(request.devices, tell=_complain)
        demand_feasible(plan, capacity)
        demand_environment(plan, os.environ)
        demand_named(plan, request.refresh)
        afresh = _afresh(request, before, home)
        if request.no_pickle:
            demand_forms(plan)
        leases = Leases(capacity, devices.is_pretended(request.devices, capacity))
        cpus = Cpus(capacity.cpus, reserve=leases.take_cpu)
        versions = versions_for(plan)
        if request.dry:
            state = State(plan, inputs, versions)
            say(_beforehand(request, before, state, _earlier(request, home, before, state, afresh)))
            return 0
        log = RunLog(home, writable=True)
        run = request.resume or log.create(plan.header.name, file, now_ms())
        if tags:
            log.tag(run, tags, now_ms())
        lock = lock or RunLock(home, run)
        digest = log.keep_plan(plan)[0]
        exports = _exports(home, run, log.length(run), targets)
        for repairs_left in reversed(range(MAX_LOSSES + 1)):
            fleet = Fleet(Scheduler(places.Pool((capacity,))))
            shared = Shared(fleet.scheduler, run, Lane(), (0, 0), alone=True)
            cache = Cache(log.results().look_up, not request.cached, afresh)
            state = State(plan, inputs, versions, shared, cache=cache)
            earlier = _earlier(request, home, before, state, afresh)
            opened = Opened(
                now_ms(),
                digest,
                inputs,
                capacity,
                earlier,
                versions,
                elsewhere=leases.others(),
                cached=request.cached,
                refresh=tuple(sorted(afresh)),
            )
            _announce(request, run, opened, len(plan.nodes), before is not None)
            if request.like:
                say(_beforehand(request, before, state, earlier))
            teller = watcher(request.as_json, run)
            execution = Execution(run, state, home, pool, leases, cpus, teller, log.length(run))
            loop = Loop(fleet, log, leases, readiness)
            _execute(loop, execution, opened)
            loop.close()
            if not repairs_left or not is_result_damaged(state, home):
                break
            _complain("what the run came to is damaged by now: what is damaged is made again")
            before, afresh, request = state, frozenset(), msgspec.structs.replace(request, like="")
        lock.release()
    finally:
        pool.close()
    status = conclude(run, state, home, request.as_json, _again(request, run), request.on_end)
    if exports is not None:
        exports.finish()
    if request.explain_schedule:
        _explain(request, run, log, state)
    pool.wait()
    return status


class _Beginning(NamedTuple):
    """What is to be executed: a plan, its file, how the run stood before, and its lock if it was resumed."""

    plan: Plan
    file: str
    before: State | None = None
    lock: RunLock | None = None


def _begin(home: Home, request: Request) -> _Beginning:
    if request.like:
        from flowrun.shell.log.finding import state_of

        log = RunLog(home)
        row = log.find(request.like)
        like = state_of(log, row.run)
        log.close()
        return _Beginning(like.plan, row.plan_file, like)
    plan = codec.read(request.plan) if request.plan else None
    before, lock = reopen(home, request.resume, plan) if request.resume else (None, None)
    if plan is None:
        if before is None:
            message = f"run `{request.resume}` ended before it began: nothing was recorded"
            refuse("FR301", message, hint="execute its plan again")
        plan = before.plan
    return _Beginning(plan, str(request.plan), before, lock)


def _afresh(request: Request, before: State | None, home: Home) -> frozenset[str]:
    """What is to be computed once more, whatever was computed before."""
    if request.plan is not None or request.like or before is None:
        return frozenset(request.refresh)
    if not request.again and before.status == "succeeded" and not _is_sound(before, home):
        return frozenset(request.refresh)  # what is damaged is left to do
    from flowrun.shell.again import chosen

    return frozenset((*request.refresh, *chosen(before, request.resume, request.again)))


def _is_sound(before: State, home: Home) -> bool:
    return all(home.store.is_sound(task.artifact) for task in before.tasks if task.artifact is not None)


def _earlier(
    request: Request, home: Home, before: State | None, state: State, afresh: frozenset[str]
) -> dict[str, Earlier]:
    """What need not run, as it did before."""
    if before is None:
        return {}
    if request.like:
        return adopt(before, state, home.store.is_sound, afresh)
    return carry_over(before, state, home.store.is_sound, afresh)


def _beforehand(
    request: Request, before: State | None, state: State, earlier: Mapping[str, Earlier]
) -> list[str]:
    """What is going to run and what not, in words or as JSON."""
    from flowrun.shell.again import beforehand, changed, kept

    assert before is not None, "there was a run before"
    if request.as_json:
        return [msgspec.json.encode(kept(state, earlier)).decode()]
    differs = (
        [f"as {request.like}, but {', '.join(changes)}"]
        if (changes := changed(before.inputs, state.inputs))
        else []
    )
    return [*differs, beforehand(before, state, earlier)]


def _tags(texts: Sequence[str]) -> dict[str, str]:
    if not texts:
        return {}
    from flowrun.shell.log.tags import tags_of

    return tags_of(texts)


def _targets(request: Request) -> dict[str, str]:
    """Where the run is to be sent while it goes on."""
    asked = request.otel or request.openlineage
    if not asked and not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ):
        return {}
    from flowrun.shell.exporting.sending import wanted

    return wanted(request.otel, request.openlineage, os.environ)


def _exports(home: Home, run: str, since: int, targets: Mapping[str, str]) -> Exports | None:
    if not targets:
        return None
    from flowrun.shell.exporting.sending import Exports

    return Exports(home, run, since, targets)


def _execute(loop: Loop, execution: Execution, opened: Opened) -> None:
    """Execute a run until nothing is left to do."""
    signals = Signals()
    loop.open(execution, opened)
    asked, listens = False, {signals.woken.fileno(): select.POLLIN}
    while execution.run in loop.executions:
        ready = loop.turn(listens)
        for _ in range(signals.count() if ready else 0):
            if asked and loop.outage:
                loop.give_up()
            asked = True
            loop.step([(execution.run, CancelRequested(now_ms()))])
            if loop.outage:
                _complain("the run ends when its log can be written; another Ctrl-C does not wait for that")
    signals.close()


def bound(plan: Plan, given: Sequence[str], before: State | None) -> Inputs:
    """The values of a plan's inputs: as given, as they were before, or by default; or `Refused`."""
    classes = {structure.type: structure for structure in plan.structures}
    return bind(plan.header, given, before.inputs if before else None, classes, examine)


def versions_for(plan: Plan) -> dict[str, str]:
    """The installed versions of the packages that a plan's operators import."""
    return installed({package for code in plan.codes for package in code.packages})


def _complain(line: str) -> None:
    print(f"note: {line}", file=sys.stderr, flush=True)


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


def reopen(home: Home, run: str, plan: Plan | None) -> tuple[State | None, RunLock]:
    """The state of the run that is to be resumed, and its lock: nobody else goes on with it meanwhile.

    It must be of the plan's workflow; without one, its own plan counts.
    """
    log = RunLog(home)
    log.find(run)
    lock = RunLock(home, run)
    state = reopened(log, run, plan)
    log.close()
    return state, lock


def reopened(log: RunLog, run: str, plan: Plan | None) -> State | None:
    """The state of a run that a plan is to go on with; `Refused` (FR304) if it is of another workflow.

    Without a plan, the run's own counts.
    """
    row = log.find(run)
    state = log.state_of(run)
    if plan is not None and state is not None and state.plan.header.workflow != plan.header.workflow:
        hint = f"`flowrun execute {row.plan_file} --resume {run}`"
        message = f"run `{run}` is of `{state.plan.header.workflow}`, the plan of `{plan.header.workflow}`"
        refuse("FR304", message, hint=hint)
    return state


def _announce(request: Request, run: str, opened: Opened, nodes: int, again: bool) -> None:
    if request.as_json:
        say([msgspec.json.encode({"run": run}).decode()])
        return
    kept = sum(earlier.artifact is not None for earlier in opened.earlier.values())
    note = f", {counted(kept, 'result')} kept" if again else ""
    say([f"{run}: {counted(nodes, 'node')}{note}, on {devices.describe(opened.capacity)}"])


def watcher(as_json: bool, run: str) -> Watcher:
    """What shows a run on standard output."""
    if as_json:
        return JsonWatcher()
    can_redraw = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveWatcher(run) if can_redraw else PlainWatcher()


def _again(request: Request, run: str) -> str:
    words = [f"execute {request.plan} --resume {run}" if request.plan else f"retry {run}"]
    words += [f"--devices {shlex.quote(request.devices)}"] if request.devices else []
    words += [f"--state {request.state}"] if request.state != DEFAULT_STATE else []
    return f"flowrun {' '.join(words)}"


def _explain(request: Request, run: str, log: RunLog, state: State) -> None:
    from flowrun.shell.showing.waiting import account, schedule

    waits = account(log, run, now_ms())
    if request.as_json:
        say([msgspec.json.encode({"schedule": waits}).decode()])
    else:
        say([f"\n{schedule(state, waits)}"])


def conclude(
    run: str, state: State, home: Home, as_json: bool, resume: str, on_end: Sequence[str] = ()
) -> int:
    """Show what came of a run, and tell `on_end`; the exit status. `resume` is the command that goes on."""
    found = report(run, state.status, state, home, now_ms())
    say([msgspec.json.encode({"summary": found}).decode() if as_json else f"\n{summary(found, home)}"])
    problems = failures(run, state, home)
    if problems:
        print(file=sys.stderr)
        print_refusal(Refused(*problems))
    if state.status != "succeeded":
        print(f"\nwhat is done is kept: go on with `{resume}`", file=sys.stderr)
    if on_end:
        from flowrun.shell.exporting.ending import tell

        tell(on_end, found)
    return _EXIT_STATUS[state.status]
