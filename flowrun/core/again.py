"""Tasks that were done and run again, since what they had made is damaged: who waits for them once more."""

from __future__ import annotations

from typing import NamedTuple

from flowc.plan.graph import waited_for
from flowrun.core.graph import Graph
from flowrun.core.model import TaskState
from flowrun.core.task import Task, is_due, is_part


class Lack(NamedTuple):
    """Why a task cannot start yet, or ever: what it takes is made again, or could not be."""

    lost: list[Task]
    waits: bool


class Again:
    """What is on its way for the second time: `going`, by number; and what did not get there: `lost`."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.going: set[int] = set()
        self.lost: list[Task] = []

    def begin(self, task: Task) -> list[Task]:
        """A task is done no more; those that were to start and wait again are returned.

        What has used its result stays, what has not waits for the next. Its artifact stays until there is
        another: nobody is to take it for a task that gives none.
        """
        task.redone += 1
        task.kept, task.origin = False, None
        self.going.add(task.index)
        held: list[Task] = []
        for index in self._graph.dependents[task.index]:
            waiting = self._graph.tasks[index]
            if waiting.state == "ready":
                waiting.state = "pending"
                held.append(waiting)
            if waiting.state == "pending" or is_part(task, waiting):
                waiting.missing += 1
        return held

    def end(self, task: Task, state: TaskState) -> None:
        """A task that is going has come to its second end."""
        self.going.remove(task.index)
        if state != "succeeded":
            self.lost.append(task)

    def lacks(self, task: Task) -> Lack:
        """What a task that waits for nothing else takes of what is made again, and waits for, or is lost.

        It was told of what it depends on itself; what control nodes came to it is linked to only now.
        """
        if task.site.control == "choose":  # it reads nothing
            return Lack([], waits=False)
        taken = {self._graph.by_id[ref].index for ref in self._graph.taken_by(task)}
        lost = [other for other in self.lost if other.index in taken]
        for index in taken & self.going:
            self._graph.dependents[index].append(task.index)
            task.missing += 1
        return Lack(lost, task.missing > 0)

    def lost_to(self, task: Task) -> list[Task]:
        """What a task depends on that could not be made again."""
        return [lost for lost in self.lost if task.index in self._graph.dependents[lost.index]]

    def due_before(self, task: Task) -> int:
        """How many dependencies of a task that ran before are to come to their end, maybe once more.

        If it was kept from before the run was resumed, all that it waits for may be still to come.
        """
        others = self.going | {self._graph.by_id[ref].index for ref in waited_for(task.node)}
        dependents = self._graph.dependents
        return sum(dependents[i].count(task.index) for i in others if is_due(self._graph.tasks[i]))
