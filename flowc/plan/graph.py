"""What follows from a plan's nodes: dependencies, levels, circles, critical path. Never stored twice.

Nodes are numbered by their place in the plan. Nothing here recurses.
"""

from __future__ import annotations

from collections.abc import Sequence

from flowc.plan.model import Level, Node, sources_of

Dependencies = Sequence[Sequence[int]]  # for each node, the nodes it waits for, ascending, each once


def dependencies(nodes: Sequence[Node]) -> list[list[int]]:
    """For each node the numbers of the nodes it waits for; `KeyError` on an undefined reference."""
    number = {node.id: i for i, node in enumerate(nodes)}
    return [sorted([number[source] for source in waited_for(node)]) for node in nodes]


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


def find_circle(depends_on: Dependencies) -> list[int]:
    """Some circle of nodes, each waiting for the next, or an empty list. Any order of nodes will do."""
    state = bytearray(len(depends_on))  # 0 not seen, 1 on the path, 2 done
    for root in range(len(depends_on)):
        path, branches = [root], [iter(depends_on[root])]
        if state[root]:
            continue
        state[root] = 1
        while path:
            following = next(branches[-1], None)
            if following is None:
                state[path.pop()] = 2
                branches.pop()
            elif state[following] == 1:
                return path[path.index(following) :]
            elif state[following] == 0:
                state[following] = 1
                path.append(following)
                branches.append(iter(depends_on[following]))
    return []
