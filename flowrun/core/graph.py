"""The tasks of a run and who waits for whom: the plan's nodes, and those that loops turn out to have."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from flowc.plan.model import Node, Plan, Site, sources_of
from flowc.plan.types import parse
from flowrun.core.control import flat, unfold
from flowrun.core.derived import Derived
from flowrun.core.keys import key_of, versions_by_operator
from flowrun.core.model import Inputs
from flowrun.core.scheduler.request import Ref
from flowrun.core.task import Task, is_due


class Graph:
    """What the tasks are and what they depend on; what becomes of them is the business of `State`.

    `keys` and `dependents` are by the number of a task. `results` of control nodes are the argument trees
    that they came to. What is `derived` is the run's own from here on: loops add to it.
    """

    def __init__(
        self, plan: Plan, inputs: Inputs, versions: Mapping[str, str] | None, derived: Derived, run: str
    ) -> None:
        self.run = run
        self.inputs = inputs
        self.versions = versions_by_operator(plan, versions or {})
        self.keys, self.dependents = derived.keys, derived.dependents
        self.results: dict[str, Any] = {}
        columns = zip(plan.nodes, derived.sites, derived.priorities, derived.missing, strict=True)
        self.tasks = [
            Task(i, node, plan.sites[site], Ref(run, node.id), priority, missing)
            for i, (node, site, priority, missing) in enumerate(columns)
        ]
        self.by_id = {task.node.id: task for task in self.tasks}

    def taken_by(self, task: Task) -> set[str]:
        """The nodes whose artifacts a task is given, maybe through control nodes that are resolved."""
        trees = [flat(tree, self.results) for tree in task.node.args.values()]
        return {ref for tree in trees for ref in sources_of(tree)}

    def below(self, task: Task) -> list[Task]:
        """What depends on a task, or on control nodes that may have come to its value."""
        found: set[int] = set()
        to_see = [task.index]
        while to_see:
            for index in self.dependents[to_see.pop()]:
                below = self.tasks[index]
                if index not in found and below.site.control != "none" and below.state == "succeeded":
                    to_see.append(index)
                found.add(index)
        return [self.tasks[index] for index in sorted(found)]

    def unfold(self, loop: Task, names: tuple[str, ...]) -> tuple[list[Task], Any]:
        """The nodes of a loop over items of some names, which wait for whatever they need, and its result.

        If there are any the loop waits for those that its result is made of; handlers of failures, and of
        the end, for all of them.
        """
        args = {name: flat(tree, self.results) for name, tree in loop.node.args.items()}
        nodes, result = unfold(loop.node, loop.site.control, loop.site.each, args, names)
        # Of a map, `gives` is the list: what one call gives is inside of it.
        of = parse(loop.site.gives)
        one = str(of.args[0]) if loop.site.control == "map" and of.args else loop.site.gives
        plain = msgspec.structs.replace(loop.site, control="none", gives=one)
        made = [self._add(node, plain, loop.priority) for node in nodes]
        for child in made:
            for source in {ref for tree in child.node.args.values() for ref in sources_of(tree)}:
                needed = self.by_id[source]
                self.dependents[needed.index].append(child.index)
                child.missing += is_due(needed)
        for handler in [self.tasks[i] for i in self.dependents[loop.index]]:
            if handler.node.trigger != "success":
                for child in made:
                    self.dependents[child.index].append(handler.index)
                handler.missing += len(made)
        if made:
            loop.result, loop.missing, loop.parts = result, 0, len(made)
            for ref in dict.fromkeys(sources_of(result)):
                self.dependents[self.by_id[ref].index].append(loop.index)
                loop.missing += 1
        return made, result

    def _add(self, node: Node, site: Site, priority: float) -> Task:
        keys = {
            ref: self.keys[self.by_id[ref].index] for tree in node.args.values() for ref in sources_of(tree)
        }
        task = Task(len(self.tasks), node, site, Ref(self.run, node.id), priority, 0)
        self.tasks.append(task)
        self.by_id[node.id] = task
        self.dependents.append([])
        self.keys.append(key_of(node, site, keys, self.inputs, self.versions))
        return task
