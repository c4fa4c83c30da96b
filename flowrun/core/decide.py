"""The scheduler: `decide(state, event) -> commands`."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Mapping
from typing import assert_never

from flowrun.core.changes import (
    Block,
    Cancel,
    CancelRequested,
    Command,
    Elsewhere,
    Event,
    Exceeded,
    Exited,
    Fail,
    Finish,
    Kill,
    Logged,
    Opened,
    Resolve,
    Resolved,
    Retry,
    Reuse,
    Skip,
    Start,
    Verified,
    Verify,
    Woke,
)
from flowrun.core.damage import after_damage
from flowrun.core.failures import DAMAGED, after_failure
from flowrun.core.foresight import foresee, foresee_again
from flowrun.core.model import Failure, RunStatus
from flowrun.core.reuse import look_up, taken
from flowrun.core.scheduler.request import Ref
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import State
from flowrun.core.task import Task

STUCK = "FR210"
_WAITING = ("pending", "ready")


def decide(state: State, event: Event) -> list[Command]:
    """Apply an event and return what is to be done about it, already applied to the state."""
    commands = react(state, event)
    commands += [command for _, command in dispatch(state.scheduler, {state.run: state}, event.at_ms)]
    if not state.unfinished:
        commands += conclude(state, event.at_ms)
    return commands


def react(state: State, event: Event) -> list[Command]:
    """What an event means for its run, before anything starts by it."""
    news = state.apply(event)
    commands: list[Command] = []
    match event:
        case Exited() | Exceeded() | Resolved() | Verified() if not news:
            pass
        case Exited(failure=failure, node=node_id) if failure is not None:
            _carry_out(state, commands, [_after_failure(state, state.by_id[node_id], event.at_ms)])
        case Exceeded(node=node, attempt=attempt, reason=reason, used=used):
            # Gently, so that what hangs may say where; but memory is gone before anybody had time for that.
            kill = Kill(event.at_ms, node, attempt, reason, force=reason == "memory", used=used)
            _carry_out(state, commands, [kill])
        case Resolved(failure=failure, node=node_id) if failure is not None:
            damaged = failure.code == DAMAGED
            command = _after_failure(state, state.by_id[node_id], event.at_ms) if damaged else Fail(node_id)
            _carry_out(state, commands, [command])
        case Verified(node=node_id, sound=True):
            artifact, origin, _ = state.verifying[node_id]
            _carry_out(state, commands, taken(state, Reuse(event.at_ms, node_id, artifact, origin)))
        case CancelRequested():
            _carry_out(state, commands, _cancel(state, event.at_ms))
        case Woke():
            _carry_out(state, commands, _enforce_limits(state, event.at_ms))
        case Opened() | Exited() | Resolved() | Verified() | Logged() | Elsewhere():
            pass
        case _:
            assert_never(event)
    follow(state, commands, event.at_ms)
    reorder = (foresee if isinstance(event, Opened) else foresee_again)(state, event.at_ms)
    if reorder is not None:
        _carry_out(state, commands, [reorder])
    return commands


def follow(state: State, commands: list[Command], now_ms: int) -> None:
    """Give up the tasks that cannot run any more, and ask for what control nodes have to know.

    What others computed before is taken from there.
    """
    while state.doomed or state.unresolved or state.hopeful:
        while state.doomed:
            index, how, by = heapq.heappop(state.doomed)
            task = state.tasks[index]
            if _is_to_come(task):
                node = task.node.id
                _carry_out(state, commands, [Block(node, by) if how == "blocked" else Skip(node, by)])
        hopeful, state.hopeful = state.hopeful, []
        for task in hopeful:
            if task.state == "ready" and (hit := look_up(state, task)):
                artifact, origin, verified = hit
                what = (now_ms, task.node.id, artifact, origin)
                _carry_out(state, commands, taken(state, Reuse(*what)) if verified else [Verify(*what)])
        unresolved, state.unresolved = state.unresolved, []
        _carry_out(
            state, commands, [Resolve(now_ms, task.node.id) for task in unresolved if task.state == "ready"]
        )


def dispatch(scheduler: Scheduler, runs: Mapping[str, State], now_ms: int) -> list[tuple[str, Command]]:
    """Give out places to what is ready in the runs that share them; take some, if that is called for."""
    decided: list[tuple[str, Command]] = []

    def carry_out(ref: Ref, command: Command) -> None:
        runs[ref.run].apply(command)
        decided.append((ref.run, command))

    stuck = True
    while stuck:  # what was stuck let nobody pass
        for request, placement in scheduler.dispatch(now_ms):
            state, node = runs[request.ref.run], request.ref.node
            task = state.by_id[node]
            start = Start(now_ms, node, task.attempt + 1, placement, state.keys[task.index])
            carry_out(request.ref, start)
        stuck = False
        for ref, why in scheduler.stuck():
            stuck = True
            carry_out(ref, Fail(ref.node, Failure(STUCK, f"it can never start: {why}")))
            commands: list[Command] = []
            follow(runs[ref.run], commands, now_ms)
            decided += [(ref.run, command) for command in commands]
    for victim, by in scheduler.preemptions(now_ms):
        attempt = runs[victim.run].by_id[victim.node].attempt
        kill = Kill(now_ms, victim.node, attempt, "preempted", grace_ms=scheduler.grace_ms, by=str(by))
        carry_out(victim, kill)
    return decided


def conclude(state: State, now_ms: int) -> list[Command]:
    """The end of a run in which nothing is left to do."""
    commands: list[Command] = []
    if state.unfinished == 0 and state.status == "running":
        _carry_out(state, commands, [Finish(now_ms, _outcome(state))])
    return commands


def _carry_out(state: State, commands: list[Command], decided: Iterable[Command]) -> None:
    for command in decided:
        state.apply(command)
        commands.append(command)


def _after_failure(state: State, task: Task, now_ms: int) -> Command:
    if state.is_cancelled(task):
        return Cancel(task.node.id)
    command = after_failure(task, now_ms, state.could_have)
    if isinstance(command, Retry) and command.kind == "damaged":
        return after_damage(state, task, command)
    return command


def _cancel(state: State, now_ms: int) -> Iterator[Command]:
    """What runs is asked to end, and at the second request made to. Nothing starts but what always should."""
    force = state.cancelling > 1
    for task in state.running.values():
        if state.is_cancelled(task):
            yield Kill(now_ms, task.node.id, task.attempt, "cancelled", force)
    for task in state.tasks:  # one may be over by the end of another
        if state.is_cancelled(task) and _is_to_come(task):
            yield Cancel(task.node.id)


def _is_to_come(task: Task) -> bool:
    """Whether a task can be ended without ending a process."""
    return task.state in _WAITING or (task.state == "running" and task.site.control != "none")


def _enforce_limits(state: State, now_ms: int) -> list[Command]:
    return [
        Kill(
            now_ms,
            task.node.id,
            task.attempt,
            task.kill.reason if task.kill else "timeout",
            task.kill is not None,
        )
        for task in state.clock.due(now_ms)
    ]


def _outcome(state: State) -> RunStatus:
    states = {task.state for task in state.tasks}
    if "cancelled" in states:
        return "cancelled"
    return "failed" if states & {"failed", "blocked"} else "succeeded"
