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
from flowrun.core.simulation.zygotes import Zygotes
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
        self._zygotes = Zygotes(costs.modules)
        self._cold = {site.imports for site in state.plan.sites if site.imports}  # nobody has them ready yet
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
        """When what the operator imports is loaded, its process is forked; then the call runs."""
        cost, at_ms = self._costs.sites[task.site.site], float(start.at_ms)
        began_ms = self._zygotes.fork(task.site.imports, at_ms, self._costs.fork_ms)
        if cost.adds_start:
            at_ms = began_ms + self._costs.start_ms
        if self._cold:
            self._look_ahead(task, start.at_ms)
        own_ms = cost.ms * math.exp(cost.spread * self._chance(start.node)) if self._chance else cost.ms
        usage = Usage(wall_ms=round(own_ms))
        self._expect(round(at_ms + own_ms), Exited(0, start.node, start.attempt, _SOMETHING, usage=usage))

    def _look_ahead(self, task: Task, now_ms: int) -> None:
        """What waits for a node that starts will start before long, and what it imports is begun with."""
        self._cold.discard(task.site.imports)
        for index in self._state.dependents[task.index]:
            imports = self._state.tasks[index].site.imports
            if imports in self._cold:
                self._cold.discard(imports)
                self._zygotes.foresee(imports, now_ms)

    def _expect(self, at_ms: int, event: Event) -> None:
        self._said += 1
        heapq.heappush(self.events, (at_ms, self._said, msgspec.structs.replace(event, at_ms=at_ms)))
