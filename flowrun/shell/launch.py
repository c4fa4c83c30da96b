"""`flowrun execute`: from a plan file and inputs to an execution and its summary."""

from __future__ import annotations

import os
import select
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from flowc.plan import codec
from flowc.plan.diagnostics import Refused, refuse
from flowc.plan.model import Plan
from flowc.plan.text import counted
from flowrun.core import pool as places
from flowrun.core.changes import CancelRequested, Earlier, Opened
from flowrun.core.failures import MAX_LOSSES
from flowrun.core.fleet import Fleet
from flowrun.core.resume import carry_over
from flowrun.core.reuse import Cache
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import Shared, State
from flowrun.shell.clock import now_ms
from flowrun.shell.demands import (
    bound,
    demand_environment,
    demand_feasible,
    demand_forms,
    demand_named,
    versions_for,
)
from flowrun.shell.execution import Execution, prepare
from flowrun.shell.host import devices
from flowrun.shell.host.affinity import Cpus
from flowrun.shell.host.leases import Leases
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.reopening import reopen
from flowrun.shell.log.runlog import RunLog, disputed
from flowrun.shell.loop import Loop, Signals
from flowrun.shell.readiness import Readiness
from flowrun.shell.saying import complain, say
from flowrun.shell.showing.watchers import watcher
from flowrun.shell.workers.forkserver import ZygoteProcess
from flowrun.shell.workers.pool import Pool

if TYPE_CHECKING:
    from flowrun.shell.exporting.sending import Exports

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
            earlier = _earlier(request, home, before, State(plan, inputs, versions), afresh)
            opened = Opened(now_ms(), "", inputs, capacity, earlier, versions)
            say(_beforehand(request, RunLog(home), plan, before, opened, afresh))
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
            results = log.results()
            cache = Cache(results.look_up, not request.cached, afresh, results.logged)
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
                say(_beforehand(request, log, plan, before, opened, afresh))
            teller = watcher(request.as_json, run)
            execution = Execution(run, state, home, pool, leases, cpus, teller, log.length(run))
            loop = Loop(fleet, log, leases, readiness)
            _execute(loop, execution, opened)
            loop.close()
            if loop.disputed:
                raise Refused(disputed(run, log.place))
            from flowrun.shell.showing.report import is_result_damaged

            if not repairs_left or not is_result_damaged(state, home):
                break
            _complain("what the run came to is damaged by now: what is damaged is made again")
            before, afresh, request = state, frozenset(), msgspec.structs.replace(request, like="")
        lock.release()
    finally:
        pool.close()
    from flowrun.shell.presenting import conclude

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
    """What a run that is gone on with has done already. A new one has done nothing, whatever it is like."""
    if before is None or request.like:
        return {}
    return carry_over(before, state, home.store.is_sound, afresh)


def _beforehand(
    request: Request, log: RunLog, plan: Plan, before: State | None, opened: Opened, afresh: frozenset[str]
) -> list[str]:
    """What is going to run and what not, in words or as JSON."""
    from flowrun.shell.again import beforehand, changed, kept, look_ahead

    assert before is not None, "there was a run before"
    cache = Cache(log.results().look_up, not request.cached, afresh)
    state = State(plan, opened.inputs, opened.versions, cache=cache)
    look_ahead(state, opened, log.home.store)
    if request.as_json:
        return [msgspec.json.encode(kept(state)).decode()]
    changes = changed(before.inputs, state.inputs)
    differs = [f"as {request.like}, but {', '.join(changes)}"] if changes else []
    return [*differs, beforehand(state)]


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
    import flowrun.shell.presenting  # noqa: F401 - while the first nodes run: it is for the end

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


def _complain(line: str) -> None:
    complain(f"note: {line}")


def _announce(request: Request, run: str, opened: Opened, nodes: int, again: bool) -> None:
    if request.as_json:
        say([msgspec.json.encode({"run": run}).decode()])
        return
    kept = sum(earlier.artifact is not None for earlier in opened.earlier.values())
    note = f", {counted(kept, 'result')} kept" if again else ""
    say([f"{run}: {counted(nodes, 'node')}{note}, on {devices.describe(opened.capacity)}"])


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
