"""Which calls may share a process: chains, and short siblings."""

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.graph import dependencies
from flowc.plan.locality import BATCH_MS, MAX_BATCH, MIN_GROUPS, SHORT_MS, batch_sizes, chains, locality
from flowc.plan.model import FORMAT, Estimate, Header, Node, Plan, Resources, Site


def plan(edges, **of_sites):
    """A plan of nodes with what they wait for, as `{"b": "a", "c": "a b"}`; sites by keyword."""
    nodes = [
        Node(name, {f"a{i}": {"from": source} for i, source in enumerate(sources.split())})
        if isinstance(sources, str)
        else sources
        for name, sources in edges.items()
    ]
    names = dict.fromkeys(node.site for node in nodes)
    sites = [Site(name, "ops:f", "c0de", **of_sites.get(name, {})) for name in names]
    return Plan(Header(FORMAT, "flow:main"), sites=tuple(sites), nodes=tuple(nodes))


def chains_of(edges, **of_sites):
    found = plan(edges, **of_sites)
    return chains(found, dependencies(found.nodes))


def batches_of(edges, **of_sites):
    found = plan(edges, **of_sites)
    return batch_sizes(found, dependencies(found.nodes))


def test_a_straight_chain():
    assert chains_of({"load": "", "clean": "load", "fit": "clean"}) == {"clean": ("load",), "fit": ("clean",)}


def test_chains_side_by_side():
    edges = {}
    for i in range(3):
        edges |= {f"load[{i}]": "", f"clean[{i}]": f"load[{i}]"}
    assert chains_of({**edges, "all": "clean[0] clean[1] clean[2]"}) == {"clean": ("load",)}


def test_a_value_that_two_wait_for_is_no_chain():
    assert chains_of({"load": "", "clean": "load", "count": "load"}) == {}


def test_a_site_follows_only_if_all_its_nodes_do():
    assert (
        chains_of({"load[0]": "", "load[1]": "", "a[0]": "load[0]", "a[1]": "load[1]", "b": "load[1]"}) == {}
    )


def test_what_else_is_waited_for_must_have_been_waited_for_before():
    diamond = {"split": "", "fit": "split", "score": "fit split"}
    assert chains_of(diamond) == {"score": ("fit",)}
    assert chains_of({"a": "", "other": "", "fit": "a", "score": "fit other"}) == {"fit": ("a",)}


def test_steps_that_wait_for_each_other_in_turn():
    steps = {"step": "", **{f"step#{i}": f"step#{i - 1}" if i > 2 else "step" for i in range(2, 6)}}
    assert chains_of(steps) == {"step": ("step",)}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"needs": Resources(gpus=1)}),
        ({"needs": Resources(gpus=1)}, {"needs": Resources(gpus=1, gpus_max=2)}),
        ({"needs": Resources(cpus=2)}, {}),
        ({"secrets": ("KEY",)}, {}),
        ({}, {"env": ("HOME",)}),
        ({"priority": 5}, {}),
        ({"control": "map", "each": ("a",)}, {}),
        ({}, {"control": "branch"}),
    ],
)
def test_what_differs_is_not_mixed(one, other):
    assert chains_of({"a": "", "b": "a"}, a=one, b=other) == {}


def test_what_may_not_run_is_not_chained_to_what_does():
    guarded = Node("b", {"x": {"from": "a"}}, when=("if",))
    assert chains_of({"if": "", "a": "", "b": guarded}, **{"if": {"control": "branch"}}) == {}
    handler = Node("b", {}, after=("a",), trigger="failure")
    assert chains_of({"a": "", "b": handler}) == {}


def test_equal_needs_chain_whatever_they_are():
    needs = {"needs": Resources(cpus=4, gpus=2, memory_mb=100)}
    assert chains_of({"a": "", "b": "a"}, a=needs, b=needs) == {"b": ("a",)}


@given(st.lists(st.sets(st.integers(0, 11), max_size=3), max_size=12), st.integers(1, 4))
def test_chains_hold_for_every_edge(sources, sites):
    """Against the definition, read off a graph of networkx."""
    names = [f"s{i % sites}[{i}]" for i in range(len(sources))]
    edges = {name: " ".join(names[s] for s in sorted(sources[i]) if s < i) for i, name in enumerate(names)}
    found = plan(edges)
    graph = nx.DiGraph((s, node.id) for node in found.nodes for s in edges[node.id].split())
    pairs = {}
    for one, other in graph.edges:
        fits = graph.out_degree(one) == 1 and {*graph.pred[other]} <= {one, *graph.pred[one]}
        pair = (one.split("[")[0], other.split("[")[0])
        pairs[pair] = pairs.get(pair, True) and fits
    expected = {pair for pair, fits in pairs.items() if fits}
    follows = chains(found, dependencies(found.nodes))
    assert {(one, other) for other, ones in follows.items() for one in ones} == expected


def short(ms):
    return {"estimate": Estimate(ms, "history", 3)}


def test_short_siblings_are_batched_by_how_long_they_take():
    many = {f"a[{i}]": "" for i in range(10_000)}
    assert batches_of(many, a=short(50)) == {"a": BATCH_MS // 50}
    assert batches_of(many, a=short(1)) == {"a": MAX_BATCH}
    assert batches_of(many, a=short(SHORT_MS + 1)) == {}
    assert batches_of(many) == {}


@pytest.mark.parametrize(("count", "size"), [(31, 0), (32, 2), (47, 2), (48, 3), (160, 10)])
def test_batches_leave_enough_groups(count, size):
    found = batches_of({f"a[{i}]": "" for i in range(count)}, a=short(1))
    assert found.get("a", 0) == size
    assert not size or count // size >= MIN_GROUPS


def test_the_narrowest_level_counts():
    wide = {f"a[{i}]": "" for i in range(1000)}
    assert batches_of({**wide, "b": "a[0]", "a[x]": "b"}, a=short(1)) == {}


def test_what_holds_a_gpu_is_not_batched():
    many = {f"a[{i}]": "" for i in range(100)}
    assert batches_of(many, a={**short(1), "needs": Resources(gpus=1)}) == {}


def test_both_at_once():
    found = plan({"a": "", "b": "a"})
    assert locality(found, dependencies(found.nodes)) == ({"b": ("a",)}, {})
