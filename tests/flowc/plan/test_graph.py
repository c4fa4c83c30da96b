"""Graph functions against networkx, on random graphs, and on depths that would end a recursion."""

import itertools

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.graph import (
    bottom_levels,
    circles,
    components,
    critical_path,
    dependencies,
    dependents,
    depths,
    levels,
)
from flowc.plan.model import Level, Node

DEEP = 30_000


@st.composite
def graphs(draw, most=25):
    """For each node any earlier ones, ascending: a DAG in topological order."""
    size = draw(st.integers(0, most))
    return [sorted(draw(st.sets(st.integers(0, i - 1), max_size=4))) if i else [] for i in range(size)]


@st.composite
def any_graphs(draw, most=12):
    size = draw(st.integers(1, most))
    return [sorted(draw(st.sets(st.integers(0, size - 1), max_size=3))) for _ in range(size)]


def in_networkx(depends_on):
    graph = nx.DiGraph()
    graph.add_nodes_from(range(len(depends_on)))
    graph.add_edges_from((source, i) for i, sources in enumerate(depends_on) for source in sources)
    return graph


def nodes_of(depends_on):
    return [
        Node(f"n{i}", {"x": [{"from": f"n{s}"} for s in sources]}) for i, sources in enumerate(depends_on)
    ]


@given(graphs())
def test_dependents_are_successors(depends_on):
    graph = in_networkx(depends_on)
    assert dependents(depends_on) == [sorted(graph.successors(i)) for i in range(len(depends_on))]


@given(graphs())
def test_levels_are_topological_generations(depends_on):
    nodes = nodes_of(depends_on)
    assert dependencies(nodes) == depends_on
    expected = [sorted(generation) for generation in nx.topological_generations(in_networkx(depends_on))]
    found = levels(nodes, depends_on)
    assert [level.nodes for level in found] == [len(generation) for generation in expected]
    assert [level.sites for level in found] == [tuple(f"n{i}" for i in generation) for generation in expected]
    depth = depths(depends_on)
    assert [[i for i, d in enumerate(depth) if d == level.level] for level in found] == expected


@given(graphs(), st.data())
def test_bottom_levels_are_the_heaviest_paths(depends_on, data):
    weights = data.draw(st.lists(st.integers(0, 9), min_size=len(depends_on), max_size=len(depends_on)))
    graph = in_networkx(depends_on)
    expected = {}
    for i in reversed(range(len(depends_on))):
        expected[i] = weights[i] + max((expected[j] for j in graph.successors(i)), default=0)
    assert bottom_levels(depends_on, weights) == [expected[i] for i in range(len(depends_on))]


@given(graphs(), st.data())
def test_the_critical_path_is_one_of_the_heaviest(depends_on, data):
    weights = data.draw(st.lists(st.integers(0, 9), min_size=len(depends_on), max_size=len(depends_on)))
    path = critical_path(depends_on, weights)
    assert bool(path) is bool(depends_on)
    assert sum(weights[i] for i in path) == max(bottom_levels(depends_on, weights), default=0)
    assert all(source in depends_on[i] for source, i in itertools.pairwise(path))
    # Another one as heavy, to be preferred, is not made heavier by that.
    other = critical_path(depends_on, weights, prefer={*range(len(depends_on))} - {*path})
    assert sum(weights[i] for i in other) == sum(weights[i] for i in path)


def test_of_equal_paths_the_preferred_one_then_the_first_is_critical():
    two = [[], [], [0], [1]]
    assert critical_path(two, [1.0] * 4) == [0, 2]
    assert critical_path(two, [1.0] * 4, prefer={1, 3}) == [1, 3]
    assert critical_path([], []) == []


@given(any_graphs())
def test_components_are_those_of_networkx_that_have_circles(depends_on):
    graph = in_networkx(depends_on)
    expected = [
        sorted(group)
        for group in nx.strongly_connected_components(graph)
        if len(group) > 1 or graph.has_edge(*group, *group)
    ]
    assert components(depends_on) == sorted(expected)


@given(any_graphs())
def test_circles_are_shortest_and_cover_every_node_that_is_on_one(depends_on):
    graph = in_networkx(depends_on).reverse()
    found = circles(depends_on)
    on_circles = {i for group in components(depends_on) for i in group}
    assert {i for path in found.paths for i in path} == on_circles
    assert (found.groups, found.nodes) == (len(components(depends_on)), len(on_circles))
    assert bool(found.paths) is not nx.is_directed_acyclic_graph(graph)
    assert len({tuple(path) for path in found.paths}) == len(found.paths)
    for path in found.paths:
        assert len(set(path)) == len(path)
        for waiting, awaited in zip(path, path[1:] + path[:1], strict=True):
            assert awaited in depends_on[waiting]
        back = [
            nx.shortest_path_length(graph, i, path[0])
            for i in graph[path[0]]
            if nx.has_path(graph, i, path[0])
        ]
        assert len(path) == min(back) + 1


@given(any_graphs(), st.integers(1, 3))
def test_of_circles_no_more_than_wanted_are_told_and_each_component_has_its_turn(depends_on, most):
    found, all_of_them = circles(depends_on, most), circles(depends_on)
    assert len(found.paths) == min(most, len(all_of_them.paths))
    assert found[1:] == all_of_them[1:]
    group_of = {i: n for n, group in enumerate(components(depends_on)) for i in group}
    assert len({group_of[path[0]] for path in found.paths}) == min(most, found.groups)


def test_a_circle_is_the_whole_path_and_no_more():
    assert circles([[], [0, 3], [1], [2], [3]]) == ([[1, 3, 2]], 1, 3)
    assert circles([[0]]) == ([[0]], 1, 1)
    assert circles([]) == ([], 0, 0)


def test_circles_that_share_nodes_and_circles_that_do_not():
    """Two circles through 0, and one apart that waits for them."""
    assert circles([[1, 2], [0], [3], [0], [0, 5], [4]]) == ([[0, 1], [4, 5], [2, 3, 0]], 2, 6)


def test_a_graph_with_exponentially_many_circles():
    """A chain of diamonds that is closed has 2**n circles; six nodes in a diamond are covered by two."""
    size = 1000
    depends_on = [
        [3 * i + 1, 3 * i + 2] if j == 0 else [(3 * i + 3) % (3 * size)]
        for i in range(size)
        for j in range(3)
    ]
    found = circles(depends_on)
    assert [len(path) for path in found.paths] == [2 * size] * 20
    assert (found.groups, found.nodes) == (1, 3 * size)


def test_depth_does_not_recurse():
    chain = [[i - 1] if i else [] for i in range(DEEP)]
    assert depths(chain)[-1] == DEEP - 1
    assert bottom_levels(chain, [1.0] * DEEP)[0] == DEEP
    assert circles(chain) == ([], 0, 0)
    assert [len(path) for path in circles([[i - 1 if i else DEEP - 1] for i in range(DEEP)]).paths] == [DEEP]
    pairs = [[i ^ 1] for i in range(DEEP)]
    assert [circles(pairs).paths[-1], *circles(pairs)[1:]] == [[38, 39], DEEP // 2, DEEP]
    assert len(critical_path(chain, [1.0] * DEEP)) == DEEP
    assert levels(nodes_of(chain), chain)[-1] == Level(DEEP - 1, 1, (f"n{DEEP - 1}",))


def test_dependencies_of_all_kinds_each_once():
    nodes = [
        Node("a"),
        Node("b", {"x": {"input": "n"}}),
        Node("c", {"x": {"from": "b", "at": ["f"]}, "y": [{"map": {"k": {"from": "b"}}}, 3]}, ("a",)),
    ]
    assert dependencies(nodes) == [[], [], [0, 1]]


def test_a_level_names_each_site_once_in_order_of_appearance():
    nodes = [Node("x[b]"), Node("y"), Node("x[a]")]
    assert levels(nodes, [[], [], []]) == (Level(0, 3, ("x", "y")),)
