"""What follows from a plan's nodes: dependencies, levels, circles, critical path. Never stored twice.

Nodes are numbered by their place in the plan. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Container, Iterator, Sequence
from typing import NamedTuple

from flowc.plan.model import Level, Node, Plan, sources_of

Dependencies = Sequence[Sequence[int]]  # for each node, the nodes it waits for, ascending, each once


def dependencies(nodes: Sequence[Node]) -> list[list[int]]:
    """For each node the numbers of the nodes it waits for; `KeyError` on an undefined reference."""
    number = {node.id: i for i, node in enumerate(nodes)}
    found = []
    for node in nodes:
        sources = set()
        for tree in node.args.values():
            if type(tree) is dict and "from" in tree:  # nearly every argument: worth no call
                sources.add(number[tree["from"]])
            elif type(tree) is dict or type(tree) is list:
                sources.update([number[source] for source in sources_of(tree)])
        if node.after or node.when or node.unless:
            sources.update([number[source] for source in (*node.after, *node.when, *node.unless)])
        found.append(sorted(sources))
    return found


def waited_for(node: Node) -> set[str]:
    """The nodes that a node waits for, for whatever reason."""
    sources = {source for tree in node.args.values() for source in sources_of(tree)}
    if node.after or node.when or node.unless:
        sources.update(node.after, node.when, node.unless)
    return sources


def dependents(depends_on: Dependencies) -> list[list[int]]:
    """The same edges the other way round: for each node, those that wait for it."""
    found: list[list[int]] = [[] for _ in depends_on]
    for i, sources in enumerate(depends_on):
        for source in sources:
            found[source].append(i)
    return found


def ancestors(depends_on: Dependencies, node: int) -> list[int]:
    """All that a node waits for, near and far, ascending."""
    found = set(depends_on[node])
    todo = list(found)
    while todo:
        new = [source for source in depends_on[todo.pop()] if source not in found]
        found.update(new)
        todo += new
    return sorted(found)


def depths(depends_on: Dependencies) -> list[int]:
    """For each node the edges on its longest path from a root. Nodes must stand in topological order."""
    depth: list[int] = []
    for sources in depends_on:
        depth.append(1 + max(depth[s] for s in sources) if sources else 0)
    return depth


def levels(nodes: Sequence[Node], depends_on: Dependencies) -> tuple[Level, ...]:
    """The `level` rows of a plan; the nodes of one level can all run in parallel."""
    members: dict[int, list[Node]] = {}
    for node, depth in zip(nodes, depths(depends_on), strict=True):
        members.setdefault(depth, []).append(node)
    return tuple(
        Level(depth, len(group), tuple(dict.fromkeys(node.site for node in group)))
        for depth, group in sorted(members.items())
    )


def weights(plan: Plan) -> list[float]:
    """For each node the seconds that it is going to take: 1 if nothing is known, 0 if it needs no process.

    Of a loop whose length only the run knows, the calls run side by side: it weighs as much as one.
    """
    of_site = {
        site.site: 0.0 if site.control in ("branch", "choose") else (site.estimate.ms / 1000 or 1.0)
        for site in plan.sites
    }
    return [of_site[node.site] for node in plan.nodes]


def bottom_levels(depends_on: Dependencies, weights: Sequence[float]) -> list[float]:
    """For each node the weight of the heaviest path from it to the end, its own included.

    The classic priority of list scheduling (Hu 1961): the node on the critical path goes first.
    """
    after = [0.0] * len(depends_on)
    total = [0.0] * len(depends_on)
    for i in range(len(depends_on) - 1, -1, -1):
        total[i] = weights[i] + after[i]
        for source in depends_on[i]:
            after[source] = max(after[source], total[i])
    return total


def critical_path(
    depends_on: Dependencies, weights: Sequence[float], prefer: Container[int] = ()
) -> list[int]:
    """The heaviest path from a root to an end. Of equal ones, through `prefer`red nodes, then the first."""
    weight = bottom_levels(depends_on, weights)
    following = dependents(depends_on)

    def best(nodes: Sequence[int]) -> int:
        return max(nodes, key=lambda i: (weight[i], i in prefer, -i))

    path = [best(range(len(weight)))] if weight else []
    while path and following[path[-1]]:
        path.append(best(following[path[-1]]))
    return path


class Circles(NamedTuple):
    """Circles of nodes that wait for each other, and how many nodes stand on any.

    `paths` are circles, each node waiting for the next and the last for the first. `groups` counts the
    strongly connected components that have circles, `nodes` the nodes of these: each is on some circle.
    """

    paths: list[list[int]]
    groups: int
    nodes: int


def circles(depends_on: Dependencies, most: int = 20) -> Circles:
    """The circles of a graph, its nodes in any order; no paths exactly if there is none.

    A graph may have exponentially many, so these are told: for each strongly connected component a shortest
    circle through its first node, then through its first node that is on no circle told yet, until all its
    nodes are on one. Of all components in turn, `most` in all.
    """
    groups = components(depends_on)
    told = [_covering_circles(depends_on, group) for group in groups[:most]]
    paths: list[list[int]] = []
    while told and len(paths) < most:
        found = [next(circle, None) for circle in told]
        told = [circle for circle, path in zip(told, found, strict=True) if path]
        paths += filter(None, found)
    return Circles(paths[:most], len(groups), sum(len(group) for group in groups))


def components(depends_on: Dependencies) -> list[list[int]]:
    """The strongly connected components that have a circle, ascending, each ascending (Tarjan 1972)."""
    found = []
    order = [0] * len(depends_on)  # when a node was first seen, from 1; 0 is not yet
    lowest = [0] * len(depends_on)  # the earliest node on the stack that can be reached from it
    on_stack = bytearray(len(depends_on))
    stack: list[int] = []
    seen = 0
    for root in range(len(depends_on)):
        path = [] if order[root] else [(root, iter(depends_on[root]))]
        while path:
            node, remaining = path[-1]
            if not order[node]:
                seen += 1
                order[node] = lowest[node] = seen
                stack.append(node)
                on_stack[node] = 1
            for following in remaining:
                if not order[following]:
                    path.append((following, iter(depends_on[following])))
                    break
                if on_stack[following]:
                    lowest[node] = min(lowest[node], order[following])
            else:
                path.pop()
                if path:
                    waiting = path[-1][0]
                    lowest[waiting] = min(lowest[waiting], lowest[node])
                if lowest[node] == order[node]:
                    at = len(stack) - 1
                    while stack[at] != node:
                        at -= 1
                    group = stack[at:]
                    del stack[at:]
                    for member in group:
                        on_stack[member] = 0
                    if len(group) > 1 or node in depends_on[node]:
                        found.append(sorted(group))
    return sorted(found)


def _covering_circles(depends_on: Dependencies, group: list[int]) -> Iterator[list[int]]:
    """Shortest circles in a strongly connected component, until each of its nodes is on one."""
    members, covered = set(group), set[int]()
    for node in group:
        if node not in covered:
            path = _shortest_circle(depends_on, node, members)
            covered.update(path)
            yield path


def _shortest_circle(depends_on: Dependencies, start: int, members: set[int]) -> list[int]:
    """A circle of fewest nodes through `start`, within its strongly connected component: breadth first."""
    reached_from = {start: start}
    queue = [start]
    for node in queue:  # grows while it is gone through
        for following in depends_on[node]:
            if following == start:
                path = [node]
                while path[-1] != start:
                    path.append(reached_from[path[-1]])
                return path[::-1]
            if following in members and following not in reached_from:
                reached_from[following] = node
                queue.append(following)
    raise AssertionError("a component that has no circle through one of its nodes")
