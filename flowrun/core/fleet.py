"""Many runs on the same hosts: each lives its own life, and one scheduler gives out the places."""

from __future__ import annotations

from flowrun.core.changes import Command, Event
from flowrun.core.decide import conclude, dispatch, react
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import State


class Fleet:
    """The runs that share a scheduler, by name. A run that ended is taken out."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.runs: dict[str, State] = {}


def decide(fleet: Fleet, run: str, event: Event) -> list[tuple[str, Command]]:
    """Apply an event of a run, and return what is to be done about it: in any of the runs.

    What one run gives back, another may get. The commands are already applied to the states.
    """
    decided = [(run, command) for command in react(fleet.runs[run], event)]
    decided += dispatch(fleet.scheduler, fleet.runs, event.at_ms)
    for name in dict.fromkeys([run, *(name for name, _ in decided)]):
        decided += [(name, command) for command in conclude(fleet.runs[name], event.at_ms)]
    return decided
