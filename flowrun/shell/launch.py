"""`flowrun execute`: from a plan file and inputs to an execution and its summary."""

from __future__ import annotations

import os
import select
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from flowc.plan import codec
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, print_refusal, refuse
from flowc.plan.host import lacking, nearest
from flowc.plan.model import Plan
from flowc.plan.packages import installed
from flowc.plan.registry import examine
from flowc.plan.text import counted
from flowrun.core import pool as places
from flowrun.core.changes import CancelRequested, Opened
from flowrun.core.fleet import Fleet
from flowrun.core.inputs import bind
from flowrun.core.model import Capacity, Inputs
from flowrun.core.pool import can_ever_fit
from flowrun.core.resume import carry_over
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import Shared, State
from flowrun.shell import devices
from flowrun.shell.execution import Execution, Watcher, now_ms, operators
from flowrun.shell.forkserver import ZygoteProcess
from flowrun.shell.loop import Loop, Signals
from flowrun.shell.pool import Pool
from flowrun.shell.report import failures, report
from flowrun.shell.runlog import Home, RunLock, RunLog
from flowrun.shell.views import summary
from flowrun.shell.watchers import JsonWatcher, LiveWatcher, PlainWatcher, say

_EXIT_STATUS = {"succeeded": 0, "failed": 1, "cancelled": 130}
DEFAULT_STATE = Path(".flow")


class Request(msgspec.Struct, frozen=True):
    """What the command line asks for."""

    plan: Path
    inputs: tuple[str, ...] = ()
    resume: str = ""
    devices: str = ""
    state: Path = DEFAULT_STATE
    as_json: bool = False
    explain_schedule: bool = False


def launch(request: Request, zygote: ZygoteProcess) -> int:
    """Execute a plan and show how it goes; the exit status."""
    pool = Pool(zygote)
    try:
        home = Home(request.state)
        plan = codec.read(request.plan)
        before, lock = reopen(home, request.resume, plan) if request.resume else (None, None)
        inputs = bound(plan, request.inputs, before)
        pool.prepare(Path(plan.header.root), home.store, home.prepare(), operators(plan))
        capacity = devices.host(request.devices, tell=_complain)
        demand_feasible(plan, capacity)
        demand_environment(plan, os.environ)
        versions = versions_for(plan)
        log = RunLog(home, writable=True)
        run = request.resume or log.create(plan.header.name, str(request.plan), now_ms())
        lock = lock or RunLock(home, run)
        fleet = Fleet(Scheduler(places.Pool((capacity,))))
        state = State(plan, inputs, versions, Shared(fleet.scheduler, run, Lane(), (0, 0), alone=True))
        earlier = carry_over(before, state, home.store.is_sound) if before else {}
        opened = Opened(now_ms(), log.keep_plan(plan)[0], inputs, capacity, earlier, versions)
        _announce(request, run, opened, len(plan.nodes))
        execution = Execution(run, state, home, pool, watcher(request.as_json), log.length(run))
        _execute(Loop(fleet, log), execution, opened)
        lock.release()
    finally:
        pool.close()
    status = conclude(run, state, home, request.as_json, _again(request, run))
    if request.explain_schedule:
        _explain(request, run, log, state)
    pool.wait()
    return status


def _execute(loop: Loop, execution: Execution, opened: Opened) -> None:
    """Execute a run until nothing is left to do."""
    signals = Signals()
    loop.open(execution, opened)
    while execution.state.status == "running":
        loop.turn({signals.woken.fileno(): select.POLLIN})
        loop.step([(execution.run, CancelRequested(now_ms()))] * signals.count())


def bound(plan: Plan, given: Sequence[str], before: State | None) -> Inputs:
    """The values of a plan's inputs: as given, as they were before, or by default; or `Refused`."""
    classes = {structure.type: structure for structure in plan.structures}
    return bind(plan.header, given, before.inputs if before else None, classes, examine)


def versions_for(plan: Plan) -> dict[str, str]:
    """The installed versions of the packages that a plan's operators import."""
    return installed({package for code in plan.codes for package in code.packages})


def _complain(line: str) -> None:
    print(f"note: {line}", file=sys.stderr)


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


def reopen(home: Home, run: str, plan: Plan) -> tuple[State | None, RunLock]:
    """The state of the run that is to be resumed, and its lock: nobody else goes on with it meanwhile."""
    log = RunLog(home)
    log.find(run)
    lock = RunLock(home, run)
    state = reopened(log, run, plan)
    log.close()
    return state, lock


def reopened(log: RunLog, run: str, plan: Plan) -> State | None:
    """The state of a run that a plan is to go on with; `Refused` (FR304) if it is of another workflow."""
    row = log.find(run)
    state = log.state_of(run)
    if state is not None and state.plan.header.workflow != plan.header.workflow:
        hint = f"`flowrun execute {row.plan_file} --resume {run}`"
        message = f"run `{run}` is of `{state.plan.header.workflow}`, the plan of `{plan.header.workflow}`"
        refuse("FR304", message, hint=hint)
    return state


def _announce(request: Request, run: str, opened: Opened, nodes: int) -> None:
    if request.as_json:
        say([msgspec.json.encode({"run": run}).decode()])
        return
    kept = sum(earlier.artifact is not None for earlier in opened.earlier.values())
    note = f", {counted(kept, 'result')} kept" if request.resume else ""
    say([f"{run}: {counted(nodes, 'node')}{note}, on {devices.describe(opened.capacity)}"])


def watcher(as_json: bool) -> Watcher:
    """What shows a run on standard output."""
    if as_json:
        return JsonWatcher()
    can_redraw = sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"
    return LiveWatcher() if can_redraw else PlainWatcher()


def _again(request: Request, run: str) -> str:
    options = [f"--resume {run}"]
    options += [f"--devices {shlex.quote(request.devices)}"] if request.devices else []
    options += [f"--state {request.state}"] if request.state != DEFAULT_STATE else []
    return f"flowrun execute {request.plan} {' '.join(options)}"


def _explain(request: Request, run: str, log: RunLog, state: State) -> None:
    from flowrun.shell.waiting import account, schedule

    waits = account(log, run, now_ms())
    if request.as_json:
        say([msgspec.json.encode({"schedule": waits}).decode()])
    else:
        say([f"\n{schedule(state, waits)}"])


def conclude(run: str, state: State, home: Home, as_json: bool, resume: str) -> int:
    """Show what came of a run; the exit status. `resume` is the command that goes on with it."""
    found = report(run, state.status, state, home, now_ms())
    say([msgspec.json.encode({"summary": found}).decode() if as_json else f"\n{summary(found, home)}"])
    problems = failures(run, state, home)
    if problems:
        print(file=sys.stderr)
        print_refusal(Refused(*problems))
    if state.status != "succeeded":
        print(f"\nwhat is done is kept: go on with `{resume}`", file=sys.stderr)
    return _EXIT_STATUS[state.status]
