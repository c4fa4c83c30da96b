"""Many runs on the same hosts: each lives its own life, and one scheduler gives out the places."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from flowrun.core.changes import GRACE_MS, Command, Event, Kill
from flowrun.core.decide import conclude, dispatch, react
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import State

Pause = Literal["opening", "ending", "outage"]
Decided = list[tuple[str, Command]]  # by run, in order, already applied to the states


class Fleet:
    """The runs that share a scheduler, by name. A run that ended is taken out.

    While there is a reason in `paused`, nothing starts: not all runs are there, who executes them is about to
    end, or what happens cannot be written down.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.runs: dict[str, State] = {}
        self.paused: set[Pause] = set()


def decide(fleet: Fleet, run: str, event: Event) -> Decided:
    """Apply an event of a run, and return what is to be done about it: in any of the runs.

    What one run gives back, another may get.
    """
    return _share(fleet, event.at_ms, [run], [(run, command) for command in react(fleet.runs[run], event)])


def look(fleet: Fleet, now_ms: int) -> Decided:
    """What is to be done by time alone: waiting makes more urgent, and lets more be taken."""
    return _share(fleet, now_ms, [], [])


def evict(fleet: Fleet, now_ms: int) -> Decided:
    """Ask all that runs to write down where it is and to end. It waits again then."""
    decided: Decided = [
        (name, Kill(now_ms, task.node.id, task.attempt, "preempted", grace_ms=GRACE_MS))
        for name, state in fleet.runs.items()
        for task in state.running.values()
        if task.kill is None
    ]
    for name, command in decided:
        fleet.runs[name].apply(command)
    return decided


def _share(fleet: Fleet, now_ms: int, touched: Iterable[str], decided: Decided) -> Decided:
    if not fleet.paused:
        decided += dispatch(fleet.scheduler, fleet.runs, now_ms)
    for name in dict.fromkeys([*touched, *(name for name, _ in decided)]):
        decided += [(name, command) for command in conclude(fleet.runs[name], now_ms)]
    return decided
