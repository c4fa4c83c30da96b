"""Executing a plan of which the zygote knows: until nothing is left to do, and what came of it is sound."""

from __future__ import annotations

import os
import select
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from flowc.plan.diagnostics import Refused
from flowc.plan.model import Plan
from flowc.plan.text import counted
from flowrun.core import pool as places
from flowrun.core.changes import CancelRequested, Earlier, Opened
from flowrun.core.failures import MAX_LOSSES
from flowrun.core.fleet import Fleet
from flowrun.core.model import Inputs
from flowrun.core.resume import carry_over
from flowrun.core.reuse import Cache
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import Shared, State
from flowrun.shell.clock import now_ms
from flowrun.shell.demands import (
    demand_environment,
    demand_feasible,
    demand_forms,
    demand_named,
    versions_for,
)
from flowrun.shell.execution import Execution
from flowrun.shell.host import devices
from flowrun.shell.host.affinity import Cpus
from flowrun.shell.host.leases import Leases
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.runlog import RunLog, disputed
from flowrun.shell.loop import Loop, Signals
from flowrun.shell.readiness import Readiness
from flowrun.shell.saying import complain, say
from flowrun.shell.showing.watchers import watcher
from flowrun.shell.workers.pool import Pool

if TYPE_CHECKING:
    from flowrun.shell.exporting.sending import Exports
    from flowrun.shell.launch import Beginning, Request


class Conducted(NamedTuple):
    """A run that is over: how it stands, its log, and who sends it elsewhere."""

    run: str
    state: State
    log: RunLog
    exports: Exports | None


def conduct(
    request: Request,
    beginning: Beginning,
    inputs: Inputs,
    home: Home,
    pool: Pool,
    readiness: Readiness,
    tags: dict[str, str],
    targets: Mapping[str, str],
) -> Conducted | None:
    """Execute a plan; none if it is only to be said what would run. The pool may be closed then.

    `Refused` if it cannot be executed here, or may not.
    """
    plan, file, before, lock = beginning
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
        return None
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
        opened = Opened(
            now_ms(),
            digest,
            inputs,
            capacity,
            _earlier(request, home, before, state, afresh),
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
        is_sound = _execute(loop, execution, opened, home, repairs_left)
        loop.close()
        if loop.disputed:
            raise Refused(disputed(run, log.place))
        if is_sound:
            break
        _complain("what the run came to is damaged by now: what is damaged is made again")
        before, afresh, request = state, frozenset(), msgspec.structs.replace(request, like="")
    lock.release()
    return Conducted(run, state, log, exports)


def explain(run: str, state: State, log: RunLog, as_json: bool) -> None:
    """Say which nodes waited for what."""
    from flowrun.shell.showing.waiting import account, schedule

    waits = account(log, run, now_ms())
    say([msgspec.json.encode({"schedule": waits}).decode() if as_json else f"\n{schedule(state, waits)}"])


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


def _exports(home: Home, run: str, since: int, targets: Mapping[str, str]) -> Exports | None:
    if not targets:
        return None
    from flowrun.shell.exporting.sending import Exports

    return Exports(home, run, since, targets)


def _execute(loop: Loop, execution: Execution, opened: Opened, home: Home, repairs_left: int) -> bool:
    """Execute a run until nothing is left to do, and that is durable; whether what it came to is sound.

    If it is, or nothing can be done about it, nobody needs the pool any more as soon as the end is decided:
    it goes while the log is being written.
    """
    signals = Signals()
    loop.open(execution, opened)
    import flowrun.shell.presenting  # noqa: F401 - while the first nodes run: it is for the end
    from flowrun.shell.showing.report import is_result_damaged

    is_over, is_sound = False, True
    asked, listens = False, {signals.woken.fileno(): select.POLLIN}
    while execution.run in loop.executions:
        ready = loop.turn(listens)
        if not is_over and execution.state.status != "running":
            is_over = True
            is_sound = not (repairs_left and is_result_damaged(execution.state, home))
            if is_sound:
                execution.pool.close()
        for _ in range(signals.count() if ready else 0):
            if asked and loop.outage:
                loop.give_up()
            asked = True
            loop.step([(execution.run, CancelRequested(now_ms()))])
            if loop.outage:
                _complain("the run ends when its log can be written; another Ctrl-C does not wait for that")
    signals.close()
    return is_sound


def _complain(line: str) -> None:
    complain(f"note: {line}")


def _announce(request: Request, run: str, opened: Opened, nodes: int, again: bool) -> None:
    if request.as_json:
        say([msgspec.json.encode({"run": run}).decode()])
        return
    kept = sum(earlier.artifact is not None for earlier in opened.earlier.values())
    note = f", {counted(kept, 'result')} kept" if again else ""
    say([f"{run}: {counted(nodes, 'node')}{note}, on {devices.describe(opened.capacity)}"])
