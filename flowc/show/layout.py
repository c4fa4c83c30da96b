"""A layered drawing of a directed graph, after Sugiyama, Tagawa and Toda (1981): plain numbers in and out.

Circles are broken, vertices put on layers by their longest path, edges over several layers led through
bends, each layer ordered for few crossings, and x coordinates chosen for straight edges. Nothing here
recurses, or depends on the order of a set.

Long edges that leave a vertex share their bends, as the branches of a tree do, or those that enter one, as
rivers do: a value that everything uses costs one bend a layer, and reads as one line.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

_BEND = 10.0  # the width that a bend keeps free
_ROUNDS = 16  # of ordering, and of moving; fewer for large graphs
_LARGE = 20_000  # vertices and edges, from which on each round costs a tenth of a second


class Layout(NamedTuple):
    """Where everything is. `x` is the middle of a vertex, `layer` its row from 0; `width` is the whole's.

    `routes` has for each edge its ends and a bend on every layer between as pairs of x and layer, downwards;
    `backward` says of each edge that it closes a circle: its source is the lower end. An edge from a vertex
    to itself has an empty route.
    """

    x: list[int]
    layer: list[int]
    width: int
    routes: list[list[tuple[int, int]]]
    backward: list[bool]


def layout(widths: Sequence[int], edges: Sequence[tuple[int, int]], gap: int = 24) -> Layout:
    """Draw a graph whose vertices have these widths, at least `gap` apart."""
    backward = circle_closing(len(widths), edges)
    down = [(b, a) if back else (a, b) for (a, b), back in zip(edges, backward, strict=True)]
    layer = _layers(len(widths), [ends for ends in down if ends[0] != ends[1]])
    mesh = _mesh(layer, down, backward)
    room = [*map(float, widths), *[_BEND] * (len(mesh.layer) - len(widths))]
    rows = _ordered(mesh)
    x, width = _spread(mesh, rows, room, gap)
    routes = [[(x[v], mesh.layer[v]) for v in path] for path in mesh.paths]
    return Layout(x[: len(widths)], layer, width, routes, backward)


def circle_closing(count: int, edges: Sequence[tuple[int, int]]) -> list[bool]:
    """Of each edge, whether a depth-first search finds it to close a circle: without these there is none."""
    following: list[list[int]] = [[] for _ in range(count)]
    for number, (source, _) in enumerate(edges):
        following[source].append(number)
    closing = [False] * len(edges)
    state = bytearray(count)  # 0 not seen, 1 on the path, 2 done
    for root in range(count):
        path, branches = [root], [iter(following[root])]
        if state[root]:
            continue
        state[root] = 1
        while path:
            number = next(branches[-1], -1)
            if number < 0:
                state[path.pop()] = 2
                branches.pop()
                continue
            target = edges[number][1]
            if state[target] == 1:
                closing[number] = True
            elif state[target] == 0:
                state[target] = 1
                path.append(target)
                branches.append(iter(following[target]))
    return closing


def crossings(rows: Sequence[Sequence[int]], below: Sequence[Sequence[int]]) -> int:
    """How often edges between neighbouring rows cross. `below` has for each vertex those one row down."""
    place = {vertex: i for row in rows for i, vertex in enumerate(row)}
    total = 0
    for row in rows:
        ended: list[int] = []  # of the edges from further left, sorted
        for vertex in row:
            ends = sorted(place[v] for v in below[vertex])
            total += sum(len(ended) - bisect_right(ended, end) for end in ends)
            for end in ends:
                insort(ended, end)
    return total


class _Mesh(NamedTuple):
    """The graph with its bends as further vertices, so that every link joins neighbouring layers.

    `paths` has the vertices along each edge, downwards. `links` weigh what it costs if they are not straight.
    """

    layer: list[int]
    above: list[list[int]]
    below: list[list[int]]
    weight: dict[tuple[int, int], float]
    paths: list[list[int]]


def _layers(count: int, edges: Sequence[tuple[int, int]]) -> list[int]:
    """For each vertex of a graph without circles the number of edges on its longest path from a root."""
    following: list[list[int]] = [[] for _ in range(count)]
    missing = [0] * count
    for source, target in edges:
        following[source].append(target)
        missing[target] += 1
    layer = [0] * count
    ready = [v for v in range(count) if not missing[v]]
    for vertex in ready:  # grows
        for target in following[vertex]:
            layer[target] = max(layer[target], layer[vertex] + 1)
            missing[target] -= 1
            if not missing[target]:
                ready.append(target)
    assert len(ready) == count
    return layer


def _mesh(layer: Sequence[int], edges: Sequence[tuple[int, int]], backward: Sequence[bool]) -> _Mesh:
    layers = list(layer)
    bends: dict[tuple[int, bool, bool, int], int] = {}
    leaving, entering = (
        Counter((ends[side], back) for ends, back in zip(edges, backward, strict=True)
                if layer[ends[1]] - layer[ends[0]] > 1)
        for side in (0, 1)
    )  # fmt: skip
    paths = []
    weight: dict[tuple[int, int], float] = {}
    for (source, target), back in zip(edges, backward, strict=True):
        path = [source]
        branches = leaving[source, back] >= entering[target, back]
        end = source if branches else target
        for between in range(layer[source] + 1, layer[target]):
            bend = bends.setdefault((end, branches, back, between), len(layers))
            if bend == len(layers):
                layers.append(between)
            path.append(bend)
        paths.append([*path, target] if source != target else [])
    for path in paths:
        for ends in pairwise(path):
            weight[ends] = (4.0, 1.0, 8.0)[sum(v >= len(layer) for v in ends)]
    above: list[list[int]] = [[] for _ in layers]
    below: list[list[int]] = [[] for _ in layers]
    for upper, lower in weight:
        below[upper].append(lower)
        above[lower].append(upper)
    return _Mesh(layers, above, below, weight, paths)


def _ordered(mesh: _Mesh) -> list[list[int]]:
    """The vertices of each layer from left to right, for few crossings: the better of two beginnings."""
    beginnings = [_depth_first(mesh), range(len(mesh.layer))]
    found = [_improved(mesh, beginning) for beginning in beginnings]
    return min(found, key=lambda rows: crossings(rows, mesh.below))


def _improved(mesh: _Mesh, beginning: Sequence[int]) -> list[list[int]]:
    """The rows from some order on: sorted by barycentres, down and up in turn, until nothing crosses."""
    rows: list[list[int]] = [[] for _ in range(max(mesh.layer, default=-1) + 1)]
    for vertex in beginning:
        rows[mesh.layer[vertex]].append(vertex)
    best, fewest = rows, crossings(rows, mesh.below)
    for turn in range(_rounds(mesh)):
        if not fewest:
            break
        rows = [list(row) for row in rows]
        downwards = turn % 2 == 0
        beside = mesh.above if downwards else mesh.below
        place = [0.0] * len(mesh.layer)
        for row in rows if downwards else reversed(rows):
            centre = {}
            for i, vertex in enumerate(row):
                near = beside[vertex]
                centre[vertex] = sum(place[v] for v in near) / len(near) if near else float(i)
            row.sort(key=centre.__getitem__)  # stable
            for i, vertex in enumerate(row):
                place[vertex] = float(i)
        _swap_neighbours(rows, mesh)
        count = crossings(rows, mesh.below)
        if count < fewest:
            best, fewest = rows, count
    return best


def _depth_first(mesh: _Mesh) -> list[int]:
    """All vertices, such that those that hang together come together: a good order to begin with."""
    seen = bytearray(len(mesh.layer))
    found = []
    for root in range(len(mesh.layer)):
        stack = [root] if not mesh.above[root] else []
        while stack:
            vertex = stack.pop()
            if not seen[vertex]:
                seen[vertex] = 1
                found.append(vertex)
                stack.extend(reversed(mesh.below[vertex]))
    return found


def _swap_neighbours(rows: Sequence[list[int]], mesh: _Mesh) -> None:
    """Exchange neighbours of a layer wherever that saves crossings."""
    if len(mesh.weight) > _LARGE // 4:
        return
    place = {vertex: i for row in rows for i, vertex in enumerate(row)}
    for row in rows:
        for i in range(len(row) - 1):
            left, right = row[i], row[i + 1]
            saved = 0
            for beside in (mesh.above, mesh.below):
                lefts, rights = ([place[v] for v in beside[vertex]] for vertex in (left, right))
                saved += sum((a > b) - (a < b) for a in lefts for b in rights)
            if saved > 0:
                row[i], row[i + 1] = right, left
                place[left], place[right] = i + 1, i


def _rounds(mesh: _Mesh) -> int:
    size = len(mesh.layer) + len(mesh.weight)
    return max(2, min(_ROUNDS, _ROUNDS * _LARGE // (size + 1)))


def _spread(
    mesh: _Mesh, rows: Sequence[Sequence[int]], room: Sequence[float], gap: int
) -> tuple[list[int], int]:
    """The x of every vertex, and the width of all: each layer in turn as near as can be to its neighbours."""
    x = [0.0] * len(mesh.layer)
    offsets = []  # of each vertex from the first of its row when all stand as close as they may
    for row in rows:
        at, offset = 0.0, []
        for i, vertex in enumerate(row):
            if i:
                at += (room[row[i - 1]] + room[vertex]) / 2 + gap
            offset.append(at)
            x[vertex] = at
        offsets.append(offset)
        for vertex in row:  # in the middle, to begin with
            x[vertex] -= at / 2
    rounds = _rounds(mesh)
    order = list(zip(rows, offsets, strict=True))
    for turn in range(2 * rounds):
        last = turn >= 2 * rounds - 4
        sides = (True, True) if last else (turn % 2 == 0, turn % 2 == 1)
        for row, offset in order if turn % 2 == 0 else reversed(order):
            wanted, weights = [], []
            for vertex in row:
                at = total = 0.0
                if sides[0]:
                    for near in mesh.above[vertex]:
                        weight = mesh.weight[near, vertex]
                        at += weight * x[near]
                        total += weight
                if sides[1]:
                    for near in mesh.below[vertex]:
                        weight = mesh.weight[vertex, near]
                        at += weight * x[near]
                        total += weight
                wanted.append(at / total if total else x[vertex])
                weights.append(total or 0.1)
            for vertex, at in zip(row, _apart(wanted, weights, offset), strict=True):
                x[vertex] = at
    left = min((x[v] - room[v] / 2 for v in range(len(x))), default=0.0)
    placed = [round(at - left) for at in x]
    for row in rows:  # rounding may have taken a pixel
        for a, b in pairwise(row):
            placed[b] = max(placed[b], placed[a] + round((room[a] + room[b]) / 2 + 0.5) + gap - 1)
    return placed, max((placed[v] + round(room[v] / 2 + 0.5) for v in range(len(x))), default=0)


def _apart(wanted: Sequence[float], weights: Sequence[float], offset: Sequence[float]) -> list[float]:
    """The places nearest to those wanted (least squares) that are at least as far apart as the offsets.

    Less the offsets they must not descend: isotonic regression, by pooling adjacent violators.
    """
    pools: list[tuple[float, float, int]] = []  # mean, weight, how many
    for at, weight, shift in zip(wanted, weights, offset, strict=True):
        pool = (at - shift, weight, 1)
        while pools and pools[-1][0] > pool[0]:
            mean, heft, count = pools.pop()
            total = heft + pool[1]
            pool = ((mean * heft + pool[0] * pool[1]) / total, total, count + pool[2])
        pools.append(pool)
    means = [mean for mean, _, count in pools for _ in range(count)]
    return [mean + shift for mean, shift in zip(means, offset, strict=True)]
