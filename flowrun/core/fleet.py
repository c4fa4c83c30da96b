"""Many runs on the same hosts: each lives its own life, and one scheduler gives out the places."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Literal

from flowc.plan.model import Resources
from flowrun.core.changes import GRACE_MS, CancelRequested, Command, Event, Kill, Opened, Submission
from flowrun.core.decide import conclude, dispatch, react
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import Shared, State

Pause = Literal["opening", "ending", "outage"]
SMALL = 0.1  # change in the share of a kind of request, of all that are to be expected
Decided = list[tuple[str, Command]]  # by run, in order, already applied to the states


def part(order: Fair, scheduler: Scheduler, run: str, of: Submission) -> Shared:
    """A run's part in a scheduler: of the same priority, the older run goes first."""
    lane = Lane(order.shares.index[of.team], of.tier)
    return Shared(scheduler, run, lane, (-of.priority, int(run.rpartition("-")[2])))


class Fleet:
    """The runs that share a scheduler, by name. A run that ended is taken out.

    While there is a reason in `paused`, nothing starts: not all runs are there, who executes them is about to
    end, or what happens cannot be written down. `mix` is how often the runs that are open ask for GPUs, and
    for which, as it was when each was opened: places are chosen so that what is left is of use to these.
    """

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self.runs: dict[str, State] = {}
        self.paused: set[Pause] = set()
        self.mix: Counter[Resources] = Counter()
        self._wanted: dict[str, Counter[Resources]] = {}  # by run
        self._told: dict[Resources, float] = {}  # the shares in the mix that the pool judges by

    def admit(self, run: str) -> None:
        """A run is open, and what is to come of it counts."""
        wanted = self.runs[run].wanted()
        if wanted:
            self._wanted[run] = wanted
            self.mix += wanted
            self._tell()

    def conclude(self, run: str) -> None:
        """A run is over, and counts no more."""
        wanted = self._wanted.pop(run, None)
        if wanted:
            self.mix -= wanted
            self._tell()

    def _tell(self) -> None:
        """Let the pool judge by another mix. It forgets what it knows by that, so small changes wait."""
        shares = {needs: count / self.mix.total() for needs, count in self.mix.items()}
        differ = shares.keys() != self._told.keys()
        if differ or any(abs(share - self._told[needs]) > SMALL for needs, share in shares.items()):
            self._told = shares
            self.scheduler.pool.expect(self.mix)


def decide(fleet: Fleet, run: str, event: Event) -> Decided:
    """Apply an event of a run, and return what is to be done about it: in any of the runs.

    What one run gives back, another may get.
    """
    commands = react(fleet.runs[run], event)
    if isinstance(event, Opened):
        fleet.admit(run)
    return _share(fleet, event.at_ms, [run], [(run, command) for command in commands])


def look(fleet: Fleet, now_ms: int) -> Decided:
    """What is to be done by time alone: waiting makes more urgent, and lets more be taken."""
    return _share(fleet, now_ms, [], [])


def abandon(fleet: Fleet, run: str, now_ms: int) -> Decided:
    """Make all of a run end at once: not even what always runs at the end begins."""
    twice = (CancelRequested(now_ms), CancelRequested(now_ms))
    commands = [command for request in twice for command in react(fleet.runs[run], request)]
    return _share(fleet, now_ms, [run], [(run, command) for command in commands])


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
        for command in conclude(fleet.runs[name], now_ms):
            decided.append((name, command))
            fleet.conclude(name)
    return decided
