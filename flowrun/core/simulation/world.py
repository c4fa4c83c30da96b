"""A run on a simulated clock: the scheduler's own `decide`, and a world in which processes only take time."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import msgspec

from flowc.plan.model import Plan
from flowrun.core.changes import Command, Event, Exited, Opened, Resolve, Start
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Capacity, Inputs, Usage
from flowrun.core.simulation.answers import Answers, Assumption
from flowrun.core.simulation.costs import Costs
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.core.timeline import Timeline, timeline_of

Chance = Callable[[str], float]  # draws for a node from the standard normal distribution
_SOMETHING = Artifact("simulated", 0)


class Simulated(msgspec.Struct, frozen=True):
    """How a run would go: its state at the end, when what ran on what, and what was taken for granted."""

    state: State
    timeline: Timeline
    assumptions: list[Assumption]

    @property
    def makespan_ms(self) -> int:
        """From the opening of the run to its end."""
        return self.timeline.makespan_ms


def simulate(
    plan: Plan,
    inputs: Inputs,
    capacity: Capacity,
    costs: Costs,
    answers: Answers,
    chance: Chance | None = None,
) -> Simulated:
    """Play a run of a plan on a host that could run each of its nodes.

    Nothing fails. Every call takes what `costs` say; with `chance`, times are drawn from what was measured.
    """
    state = State(plan, inputs)
    world = _World(state, costs, answers, chance)
    world.happen(Opened(0, "", inputs, capacity))
    while world.events and state.status == "running":
        world.happen(heapq.heappop(world.events)[-1])
    assert state.status == "succeeded", f"a simulated run came to a standstill: {state.unfinished} nodes left"
    return Simulated(state, timeline_of(state, capacity), answers.told)


class _World:
    """What would happen outside of the scheduler."""

    def __init__(self, state: State, costs: Costs, answers: Answers, chance: Chance | None) -> None:
        self._state = state
        self._costs = costs
        self._answers = answers
        self._chance = chance
        self._loaded: set[str] = set()  # modules, by the process that forks the workers
        self._idle_ms = 0.0  # when that process has done all that it was told by now
        self.events: list[tuple[int, int, Event]] = []  # a heap; of the same time, the first said comes first
        self._said = 0

    def happen(self, event: Event) -> None:
        for command in decide(self._state, event):
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Start):
            self._start(command, self._state.by_id[command.node])
        elif isinstance(command, Resolve):
            task = self._state.by_id[command.node]
            self._expect(command.at_ms, self._answers.resolve(self._state, task, command.at_ms))

    def _start(self, start: Start, task: Task) -> None:
        """The zygote loads what the operator imports, then forks; one after the other. Then the call runs."""
        cost, at_ms = self._costs.sites[task.site.site], float(start.at_ms)
        imports = {
            name: self._costs.modules[name]
            for name in task.site.imports
            if name in self._costs.modules and name not in self._loaded
        }
        self._loaded.update(imports)
        if cost.adds_start:
            began_ms = max(at_ms, self._idle_ms) + sum(imports.values())
            self._idle_ms = began_ms + self._costs.fork_ms
            at_ms = began_ms + self._costs.start_ms
        own_ms = cost.ms * math.exp(cost.spread * self._chance(start.node)) if self._chance else cost.ms
        usage = Usage(wall_ms=round(own_ms), imports=imports)
        self._expect(round(at_ms + own_ms), Exited(0, start.node, start.attempt, _SOMETHING, usage=usage))

    def _expect(self, at_ms: int, event: Event) -> None:
        self._said += 1
        heapq.heappush(self.events, (at_ms, self._said, msgspec.structs.replace(event, at_ms=at_ms)))
