"""Layered drawings: what must hold of every one, and what makes one good."""

import random
from itertools import pairwise

import networkx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.show.layout import circle_closing, crossings, layout

GAP = 24


@st.composite
def graphs(draw):
    count = draw(st.integers(1, 25))
    vertex = st.integers(0, count - 1)
    edges = draw(st.lists(st.tuples(vertex, vertex), max_size=60, unique=True))
    return draw(st.lists(st.integers(20, 200), min_size=count, max_size=count)), edges


@given(graphs())
def test_boxes_do_not_overlap_and_bends_stay_out_of_them(graph):
    widths, edges = graph
    laid = layout(widths, edges, GAP)
    rows = {}
    for vertex, (x, layer) in enumerate(zip(laid.x, laid.layer, strict=True)):
        rows.setdefault(layer, []).append((x - widths[vertex] / 2, x + widths[vertex] / 2))
    for row in rows.values():
        row.sort()
        assert all(right[0] - left[1] >= GAP - 2 for left, right in pairwise(row))
        assert row[0][0] >= -1
        assert row[-1][1] <= laid.width
    for route in laid.routes:
        for x, layer in route[1:-1]:
            assert all(not left < x < right for left, right in rows.get(layer, ()))


@given(graphs())
def test_edges_go_down_but_for_those_that_close_a_circle(graph):
    widths, edges = graph
    laid = layout(widths, edges)
    for (source, target), route, backward in zip(edges, laid.routes, laid.backward, strict=True):
        if source == target:
            assert (route, backward) == ([], True)
            continue
        upper, lower = (target, source) if backward else (source, target)
        assert [layer for _, layer in route] == list(range(laid.layer[upper], laid.layer[lower] + 1))
        assert len(route) > 1
        assert (route[0][0], route[-1][0]) == (laid.x[upper], laid.x[lower])


@given(graphs())
def test_without_the_edges_that_close_circles_there_is_none(graph):
    widths, edges = graph
    closing = circle_closing(len(widths), edges)
    kept = networkx.DiGraph([edge for edge, closes in zip(edges, closing, strict=True) if not closes])
    assert networkx.is_directed_acyclic_graph(kept)
    if networkx.is_directed_acyclic_graph(networkx.DiGraph(edges)):
        assert not any(closing)


@given(graphs())
def test_the_same_graph_is_drawn_the_same(graph):
    assert layout(*graph) == layout(*graph)


def test_layers_are_longest_paths():
    assert layout([20] * 4, [(0, 1), (1, 2), (0, 2), (3, 2)]).layer == [0, 1, 2, 0]


def test_a_chain_is_straight_and_a_fan_is_even():
    assert len(set(layout([50, 120, 80], [(0, 1), (1, 2)]).x)) == 1
    laid = layout([50] * 6, [(0, i) for i in range(1, 6)])
    assert laid.x[0] == laid.x[3]
    assert {b - a for a, b in pairwise(laid.x[1:])} == {50 + 24}


def test_crossings_are_counted_and_undone():
    below = [[3], [2], [], []]
    assert crossings([[0, 1], [2, 3]], below) == 1
    assert crossings([[0, 1], [3, 2]], below) == 0
    # Two chains whose vertices are numbered such that drawing them in order would cross.
    laid = layout([40] * 6, [(0, 3), (1, 2), (2, 5), (3, 4)])
    assert (laid.x[0] < laid.x[1]) == (laid.x[3] < laid.x[2]) == (laid.x[4] < laid.x[5])


@pytest.mark.parametrize("end", [0, 39])
def test_long_edges_of_a_vertex_share_their_bends(end):
    chain = list(pairwise(range(40)))
    edges = chain + [tuple(sorted((end, i))) for i in range(40) if abs(i - end) > 1]
    laid = layout([60] * 40, edges)
    assert len({point for route in laid.routes for point in route[1:-1]}) == 38


@pytest.mark.parametrize(("count", "edges"), [(0, []), (1, []), (1, [(0, 0)]), (2, [(0, 1), (1, 0)])])
def test_hardly_anything_to_draw(count, edges):
    laid = layout([30] * count, edges)
    assert len(laid.x) == count
    assert len(laid.routes) == len(edges)


def test_a_tangle_is_drawn_in_bounds():
    chance = random.Random(7)
    edges = [(i, chance.randrange(i + 1, 300)) for i in range(299) for _ in range(5)]
    laid = layout([100] * 300, edges)
    assert max(laid.layer) < 300
