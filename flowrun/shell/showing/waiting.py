"""Why nodes waited, as text: `flowrun why`, and `flowrun execute --explain-schedule`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import zip_longest

from flowc.plan.model import Plan
from flowc.plan.text import columns, counted
from flowrun.core.changes import Finish, Opened
from flowrun.core.explain import Past, Wait, explain, last_time, unmet
from flowrun.core.fleet import part
from flowrun.core.pool import Pool
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.teams import Sharing, Team
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.log.runlog import RunLog, RunRow
from flowrun.shell.teams import fair

_MOST_ROWS = 40  # nodes in the explanation of a schedule: those that waited longest
_MOST_SPELLS = 8


def account(log: RunLog, run: str, now_ms: int) -> list[Wait]:
    """Every wait in a run's last execution: for what other runs held, too, where it shared the host."""
    opened = log.opened(run)
    if opened is None or opened.submission is None:
        return explain(Past(*log.last_execution(run)), now_ms)
    return _Host(log, opened, opened.submission.team).account(run, now_ms)


class _Host:
    """A daemon's host, as it was while a run was executed on it."""

    def __init__(self, log: RunLog, opened: Opened, team: str) -> None:
        self._log = log
        self._opened = opened
        self._order = fair(opened.sharing or Sharing({team: Team()}), opened.capacity)
        self._scheduler = Scheduler(Pool((opened.capacity,)), self._order)
        self._plans: dict[str, Plan] = {}

    def account(self, run: str, now_ms: int) -> list[Wait]:
        """Every wait in a run."""
        row = self._log.find(run)
        ended_ms = last_time(self._log.executions(run)[-1])
        until_ms = now_ms if row.status == "running" else ended_ms
        *_, asked = self._pasts(row, self._opened.at_ms, until_ms)
        beside = [
            past
            for other in self._log.runs()
            if other.run != run and other.created_ms <= until_ms
            for past in self._pasts(other, self._opened.at_ms, until_ms)
        ]
        return explain(asked, now_ms, beside)

    def _pasts(self, row: RunRow, since_ms: int, until_ms: int) -> Iterator[Past]:
        """The executions of a run that this daemon, or one like it, had within some time.

        One that was interrupted, and not gone on with since, is taken to be of this daemon.
        """
        if 0 < row.ended_ms < since_ms:
            return
        executions = self._log.executions(row.run)
        for changes, after in zip_longest(executions, executions[1:]):
            opened = changes[0]
            assert isinstance(opened, Opened)
            of = opened.submission
            alike = (opened.sharing, opened.capacity) == (self._opened.sharing, self._opened.capacity)
            if of is None or not alike or of.team not in self._order.shares.index:
                continue
            over = isinstance(changes[-1], Finish)
            if over:
                end_ms = last_time(changes)
            else:
                end_ms = last_time(after[:1]) if after else until_ms
            if end_ms <= since_ms < until_ms or opened.at_ms > until_ms:
                continue
            shared = part(self._order, self._scheduler, row.run, of)
            if opened.plan not in self._plans:
                self._plans[opened.plan] = self._log.plan(opened.plan)
            state = State(self._plans[opened.plan], opened.inputs, opened.versions, shared)
            yield Past(state, changes, None if over else end_ms)


def why(state: State, task: Task, waits: Sequence[Wait], status: str, now_ms: int) -> str:
    """`flowrun why`: what a node waits or waited for, and what came of it."""
    lines = [f"`{task.node.id}` {_standing(state, task, status)}"]
    for wait in waits:
        if wait.node == task.node.id:
            lines += ["", *_waited(state, wait, now_ms)]
    if task.state == "pending":
        lines += _unmet(state, task)
    return "\n".join(lines)


def schedule(state: State, waits: Sequence[Wait]) -> str:
    """What `--explain-schedule` prints: who waited how long, and for what most of the time."""
    longest = sorted(waits, key=lambda wait: wait.ready_ms - wait.started_ms)[:_MOST_ROWS]
    rows: list[tuple[str, ...]] = [("node", "ready", "started", "waited", "for")]
    for wait in sorted(longest, key=lambda wait: (wait.started_ms, wait.ready_ms)):
        waited_ms = wait.started_ms - wait.ready_ms
        spells = sorted(wait.spells, key=lambda spell: spell.since_ms - spell.until_ms)
        reason = str(spells[0].waits) if spells else ""
        if len(spells) > 1:
            reason += f" (and {counted(len(spells) - 1, 'reason')} more: flowrun why)"
        times = [_at(state, wait.ready_ms), _at(state, wait.started_ms), f"{waited_ms / 1000:.2f} s"]
        rows.append((wait.node, *times, reason))
    lines = ["how places were given out", *(f"  {line}" for line in columns(rows))]
    if len(waits) > len(longest):
        lines.append(f"  ... and {len(waits) - len(longest)} that waited less")
    return "\n".join(lines)


def _standing(state: State, task: Task, status: str) -> str:
    match task.state:
        case "succeeded" if task.kept:
            return "succeeded in an earlier execution of the run, and was kept"
        case "succeeded" if task.origin:
            return "succeeded without running"
        case "succeeded":
            return f"succeeded: it ran from {_at(state, task.started_ms)} to {_at(state, task.ended_ms)}"
        case "failed":
            reason = f": [{task.failure.code}] {task.failure.message.splitlines()[0]}" if task.failure else ""
            return f"failed{reason}"
        case "blocked":
            return f"can never run, because of `{task.blocked_by}`"
        case "skipped":
            return f"is skipped, because of `{task.blocked_by}`" if task.blocked_by else "is skipped"
        case "running":
            return f"runs since {_at(state, task.started_ms)} (attempt {task.attempt})"
        case "ready" | "pending" if status == "interrupted":
            return "did not start: the run was interrupted; resume it"
        case "ready":
            return "is ready and waits for a place"
        case "pending" if task.ready_at_ms > state.now_ms:
            return f"failed and waits until {_at(state, task.ready_at_ms)} before it is tried again"
        case "cancelled":
            return "is cancelled: the run was"
        case _:
            return "waits for others"


def _unmet(state: State, task: Task) -> list[str]:
    missing = unmet(state, task)
    lines = [f"  `{other.node.id}` is {other.state}" for other in missing[:_MOST_SPELLS]]
    if len(missing) > len(lines):
        lines.append(f"  ... and {len(missing) - len(lines)} more")
    return ["", f"it waits for {counted(len(missing), 'node')}", *lines] if missing else []


def _waited(state: State, wait: Wait, now_ms: int) -> list[str]:
    until_ms = wait.started_ms or now_ms
    attempt = f"attempt {wait.attempt} " if wait.attempt > 1 else ""
    waited = f"{(until_ms - wait.ready_ms) / 1000:.2f} s"
    if not wait.spells and wait.started_ms:
        return [f"{attempt}was ready at {_at(state, wait.ready_ms)} and started at once"]
    end = f"started at {_at(state, wait.started_ms)}" if wait.started_ms else "still waits"
    lines = [f"{attempt}was ready at {_at(state, wait.ready_ms)}, waited {waited}, {end}"]
    shown = wait.spells[-_MOST_SPELLS:]
    if len(shown) < len(wait.spells):
        lines.append(f"  ... {counted(len(wait.spells) - len(shown), 'earlier reason')}")
    for spell in shown:
        times = f"{_at(state, spell.since_ms)} to {_at(state, spell.until_ms)}"
        lines.append(f"  {times}  {spell.waits}")
    if not wait.started_ms and shown and shown[-1].waits.expected_ms > now_ms:
        expected = (shown[-1].waits.expected_ms - now_ms) / 1000
        lines.append(f"  expected to start in about {expected:.1f} s, by the estimates of what runs")
    return lines


def _at(state: State, at_ms: int) -> str:
    return f"{(at_ms - state.opened_ms) / 1000:.2f} s"
