"""The runs of a daemon: taken up when they are submitted or were interrupted, let go when they end."""

from __future__ import annotations

import os
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple

from flowc.plan import known
from flowc.plan.diagnostics import Refused, print_refusal, refuse
from flowc.plan.model import Plan
from flowc.plan.text import counted
from flowrun.core import pool as places
from flowrun.core.changes import CancelRequested, Opened, Submission
from flowrun.core.derived import derive
from flowrun.core.fleet import Fleet, part
from flowrun.core.model import Capacity
from flowrun.core.resume import carry_over
from flowrun.core.reuse import Cache
from flowrun.core.scheduler.preempting import ByShares
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.finish import FinishTimes
from flowrun.core.sharing.teams import Sharing
from flowrun.core.state import State
from flowrun.service import admission
from flowrun.service.aside import Aside
from flowrun.service.messages import Cancelling, Submit, Submitted
from flowrun.service.outcomes import Teller
from flowrun.service.pools import Pools
from flowrun.service.preparing import Order, Prepared, Wanted, elsewhere, prepare, prepared
from flowrun.service.telling import Telling, receivers
from flowrun.shell.clock import now_ms
from flowrun.shell.demands import demand_environment, versions_for
from flowrun.shell.execution import Execution
from flowrun.shell.host.affinity import Cpus
from flowrun.shell.host.leases import Leases
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.runlog import RunLog, disputed, refuse_unwritten
from flowrun.shell.log.tags import tags_of
from flowrun.shell.loop import Loop
from flowrun.shell.readiness import Readiness
from flowrun.shell.saying import say
from flowrun.shell.teams import fair
from flowrun.shell.workers.pool import Pool

LARGE = 1 << 18  # bytes of a plan file: about 2,500 nodes, which it takes 0.05 s to prepare
Steps = Generator[Aside | None, None, Submitted]  # yields what to wait for, or nothing if others may go first


class _Held(NamedTuple):
    """What a run holds while it is executed."""

    submission: Submission
    lock: RunLock
    pool: Pool
    since: int  # the position in its log


class Runs:
    """The runs that share the host."""

    def __init__(
        self,
        home: Home,
        log: RunLog,
        capacity: Capacity,
        sharing: Sharing,
        leases: Leases,
        on_end: Sequence[str] = (),
    ) -> None:
        self._home = home
        self._log = log
        self._results = log.results()
        self._capacity = capacity
        self._sharing = sharing
        self._leases = leases
        self._cpus = Cpus(capacity.cpus, reserve=leases.take_cpu)
        self._project = Path.cwd().resolve()
        self.order = fair(sharing, capacity)
        grace_ms = round(sharing.preemption.notice_s * 1000)
        scheduler = Scheduler(places.Pool((capacity,)), self.order, ByShares(self.order), grace_ms)
        readiness = Readiness()
        self.loop = Loop(Fleet(scheduler), log, leases, readiness)
        self.finished = {name: FinishTimes() for name in sharing.teams}
        self._pools = Pools(home, readiness)
        self._telling = Telling(home, on_end)
        self._held: dict[str, _Held] = {}
        self._arriving: set[str] = set()  # runs that are about to be resumed

    def submit(self, request: Submit) -> Steps:
        """Queue a run; or `Refused`, and nothing has happened."""
        if self.loop.outage:
            refuse_unwritten(
                self.loop.outage, self._home, ["it executes what it has, and takes no more until it can"]
            )
        if request.resume in {*self._held, *self._arriving}:
            hint = "wait for its end, or `flowrun cancel` it"
            refuse("FR303", f"run `{request.resume}` is being executed by this daemon", hint=hint)
        file = self._file(request.plan)
        of = admission.submission(self._sharing, request.team, request.tier, request.priority)
        of, tags = receivers(of, request), tags_of(request.tags)
        lock = None
        if request.resume:
            lock = RunLock(self._home, self._log.find(request.resume).run)
            self._arriving.add(request.resume)
        try:
            found = yield from self._prepared(
                Wanted(str(file), request.inputs, of, request.resume, request.refresh)
            )
            plan = yield from known.decoding(found.body)
            waiting = self._waiting()
            admission.demand_room(
                self._sharing, of.team, waiting.get(of.team, 0), sum(waiting.values()), len(plan.nodes)
            )
            run = request.resume or self._log.create(plan.header.name, str(file), now_ms())
            lock = lock or RunLock(self._home, run)
            if tags:
                self._log.tag(run, tags, now_ms())
        except BaseException:  # or it is not waited for any more
            if lock is not None:
                lock.release()
            raise
        finally:
            self._arriving.discard(request.resume)
        kept = self._open(run, lock, plan, found, of, request)
        return Submitted(run, len(plan.nodes), of.team, of.tier, kept)

    def _prepared(self, wanted: Wanted) -> Generator[Aside, None, Prepared]:
        """What is large is read by another process, and what a run has verified: it takes seconds."""
        try:
            large = bool(wanted.resume) or os.stat(wanted.file).st_size > LARGE
        except OSError:
            large = False
        if not large:
            return prepare(wanted, self._log, self._capacity, self.order)
        aside = elsewhere(Order(wanted, str(self._home.folder), self._capacity, self._sharing))
        try:
            yield aside
            return prepared(wanted, aside.result())
        finally:
            aside.close()

    def cancel(self, run: str) -> Cancelling:
        """Ask a run to end, or the second time make it."""
        execution = self.loop.executions.get(run)
        if execution is None:
            known = ", ".join(f"`{name}`" for name in list(self.loop.executions)[-20:])
            hint = f"it executes {known}" if known else "nothing is queued, and nothing runs"
            refuse("FR146", f"the daemon does not execute a run `{run}`", hint=hint)
        self.loop.step([(run, CancelRequested(now_ms()))])
        return Cancelling(run, len(execution.state.running), execution.state.cancelling > 1)

    def resume_all(self) -> None:
        """Go on with the runs of the daemon before. What cannot go on stays as it is, and is told of."""
        self.loop.fleet.paused.add("opening")  # until all are there, and compete for what is free
        for row in self._log.runs():
            if row.status != "interrupted":
                continue
            try:
                opened = self._log.opened(row.run)
                if opened is not None and opened.submission is not None:  # else of `flowrun execute`
                    self._resume(row.run, opened, opened.submission)
            except Refused as refusal:
                say([f"{row.run} cannot go on:"])
                print_refusal(refusal)
        self.loop.fleet.paused.remove("opening")
        self.loop.look()

    def running(self) -> int:
        """How many nodes run."""
        return sum(len(execution.state.running) for execution in self.loop.executions.values())

    def let_go(self) -> None:
        """Give back what runs held that have ended."""
        for run in [run for run in self._held if run not in self.loop.executions]:
            held = self._held.pop(run)
            held.lock.release()
            self._pools.release(held.pool)
            if run in self.loop.disputed:
                say([f"{run}: set aside, as another process has written to its log"])
                print_refusal(Refused(disputed(run, self._log.place)))
            else:
                self._telling.put(run, held.since, held.submission)
        if said := list(self._telling.look()):
            say(said)

    def close(self) -> None:
        """End everything at once. What has not ended goes on with the next daemon."""
        self._pools.close()
        self.loop.close()
        say(self._telling.close())
        for held in self._held.values():
            held.lock.release()

    def _resume(self, run: str, opened: Opened, of: Submission) -> None:
        lock = RunLock(self._home, run)
        try:
            admission.submission(self._sharing, of.team, of.tier, of.priority)  # there may be others now
            before = self._log.state_of(run)
            assert before is not None, "it was opened"
            plan, inputs = before.plan, before.inputs
            demand_environment(plan, os.environ)
        except Refused:
            lock.release()
            raise
        versions = versions_for(plan)
        derived = derive(plan, inputs, versions)
        state = State(plan, inputs, versions, derived=derived)
        earlier = carry_over(before, state, self._home.store.is_sound)
        digest, body = self._log.keep_plan(plan)
        prepared = Prepared(digest, body, inputs, versions, earlier, derived)
        self._open(run, lock, plan, prepared, of, opened)  # what was computed afresh is kept

    def _open(
        self, run: str, lock: RunLock, plan: Plan, prepared: Prepared, of: Submission, as_in: Submit | Opened
    ) -> int:
        """Take up a run, with the use of other runs' results that is asked for.

        Returns how many of its nodes are done already.
        """
        inputs, versions, earlier = prepared.inputs, prepared.versions, prepared.earlier
        shared = part(self.order, self.loop.fleet.scheduler, run, of)
        results = self._results
        cache = Cache(results.look_up, not as_in.cached, frozenset(as_in.refresh), results.logged)
        state = State(plan, inputs, versions, shared, prepared.derived, cache)
        opened = Opened(
            now_ms(),
            prepared.plan,
            inputs,
            self._capacity,
            earlier,
            versions,
            of,
            self._sharing,
            self._leases.others(),
            as_in.cached,
            as_in.refresh,
        )
        kept = sum(was.artifact is not None for was in earlier.values())
        pool = self._pools.take(plan, versions)
        position = self._log.length(run)
        self._held[run] = _Held(of, lock, pool, position)
        watcher = Teller(run, of, self.order.shares, self.finished[of.team])
        again = f", {counted(kept, 'result')} kept" if position else ""
        say([f"{run}: {counted(len(plan.nodes), 'node')}{again}, for team `{of.team}` in tier {of.tier}"])
        self.loop.open(
            Execution(run, state, self._home, pool, self._leases, self._cpus, watcher, position), opened
        )
        return kept

    def _file(self, given: str) -> Path:
        """A plan file, relative to the project; `Refused` (FR145) if it is none of its files."""
        path = Path(given)
        try:
            inside = path.resolve().relative_to(self._project)
        except (ValueError, OSError, RuntimeError):
            message = f"the plan `{given}` is not in the folder that the daemon was started in"
            hint = f"start a daemon for that project, in its folder; this one has `{self._project}`"
            refuse("FR145", message, hint=hint)
        if path.exists() and not path.is_file():
            refuse("FR145", f"`{inside}` is no file", hint="`flowc compile` writes plan files")
        return inside

    def _waiting(self) -> dict[str, int]:
        """How many nodes of each team have not started, by the runs that are executed."""
        waiting: dict[str, int] = {}
        for run, execution in self.loop.executions.items():
            team, state = self._held[run].submission.team, execution.state
            waiting[team] = waiting.get(team, 0) + state.unfinished - len(state.running)
        return waiting
