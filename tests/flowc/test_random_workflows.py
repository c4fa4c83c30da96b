"""Workflows of any shape, written as source, compiled, and compared with networkx.

A made-up workflow is a list of steps, each of which uses the results of earlier ones: as arguments, within
lists and dicts, through fields, over a helper function, or over a loop.
"""

import networkx as nx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowc.plan.codec import decode, encode
from flowc.plan.graph import bottom_levels, dependencies, dependents, depths
from flowc.plan.model import Level

HEAD = """
from ops import *

def helped(items):
    inner = gather(items)
    return gather([inner, items])

@workflow
def main(rate: float = 0.5):
"""
# Each way to use earlier values: the source, with `{}` for each of them.
FORMS = {
    "alone": lambda used: f"gather({', '.join(used[:1])})",
    "list": lambda used: f"gather([{', '.join(used)}])",
    "dict": lambda used: f"gather(dict(k={', k_='.join(used[:2]) or 0}), more=rate)",
    "both": lambda used: f"gather([{', '.join(used[1:])}], more=[1, {', '.join(used[:1])}])",
    "twice": lambda used: f"gather([{', '.join(used)}], [{', '.join(used)}])",
    "helper": lambda used: f"helped([{', '.join(used)}])",
    "loop": lambda used: f"[gather([{', '.join(used)}], x) for x in range(3)]",
    "chain": lambda used: f"gather(gather([{', '.join(used)}]))",
}

USED = {"alone": 1, "dict": 2}  # how many earlier values a form can use, where that is bounded


@st.composite
def steps(draw):
    """For each step its form, and the earlier steps that it uses."""
    size = draw(st.integers(1, 14))
    return [
        (
            draw(st.sampled_from(sorted(FORMS))),
            sorted(draw(st.sets(st.integers(0, i - 1), max_size=4))) if i else [],
        )
        for i in range(size)
    ]


def source_of(steps):
    lines = [f"    s{i} = {FORMS[form]([f's{u}' for u in used])}" for i, (form, used) in enumerate(steps)]
    return HEAD + "\n".join([*lines, f"    return [{', '.join(f's{i}' for i in range(len(steps)))}]"]) + "\n"


def graph_of(steps):
    """The graph that the steps mean: node ids, an edge from each to those that use it."""
    graph = nx.DiGraph()
    results = []  # of each step, the nodes that its value consists of
    for i, (form, used) in enumerate(steps):
        needed = [node for u in used[: USED.get(form)] for node in results[u]]
        name = f"s{i}"
        match form:
            case "helper":
                made = {f"{name}/inner": needed, f"{name}/gather": [f"{name}/inner", *needed]}
            case "loop":
                made = {f"{name}[{x}]": needed for x in range(3)}
            case "chain":
                inner = _free(graph, "gather")
                made = {inner: needed, name: [inner]}
            case _:
                made = {name: needed}
        results.append(list(made) if form == "loop" else list(made)[-1:])
        for node, sources in made.items():
            graph.add_node(node)
            graph.add_edges_from((source, node) for source in sources)
    return graph


def _free(graph, name):
    """The id of a call that is assigned to nothing, named after its operator."""
    number = 2
    found = name
    while found in graph:
        found, number = f"{name}~{number}", number + 1
    return found


def compare(project, steps):
    plan = project.compile(source_of(steps))
    graph = graph_of(steps)
    ids = [node.id for node in plan.nodes]
    depends_on = dependencies(plan.nodes)
    assert ids == list(graph)
    assert [[ids[s] for s in sources] for sources in depends_on] == [
        sorted(graph.predecessors(node), key=ids.index) for node in ids
    ]
    assert [[ids[d] for d in found] for found in dependents(depends_on)] == [
        sorted(graph.successors(node), key=ids.index) for node in ids
    ]
    generations = [sorted(generation, key=ids.index) for generation in nx.topological_generations(graph)]
    depth = dict(zip(ids, depths(depends_on), strict=True))
    assert depth == {node: level for level, nodes in enumerate(generations) for node in nodes}
    site = {node.id: node.site for node in plan.nodes}
    assert plan.levels == tuple(
        Level(level, len(nodes), tuple(dict.fromkeys(site[node] for node in nodes)))
        for level, nodes in enumerate(generations)
    )
    weights = [float(len(node)) for node in ids]
    longest = {}
    for node in reversed(ids):
        longest[node] = len(node) + max((longest[after] for after in graph.successors(node)), default=0)
    assert dict(zip(ids, bottom_levels(depends_on, weights), strict=True)) == longest
    assert max(longest.values(), default=0) == _heaviest_path(graph)
    data = encode(plan)
    assert decode(data, "p") == plan
    assert encode(decode(data, "p")) == data


def _heaviest_path(graph):
    """By networkx, from the weights of nodes as weights of edges."""
    weighted = nx.DiGraph(("start", node, {"weight": len(node)}) for node in graph)
    weighted.add_edges_from((source, node, {"weight": len(node)}) for source, node in graph.edges)
    return nx.dag_longest_path_length(weighted)


quiet = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@settings(quiet, max_examples=25)
@given(steps())
def test_a_random_workflow_compiles_to_the_graph_that_it_means(project, steps):
    compare(project, steps)


@pytest.mark.slow
@settings(quiet, max_examples=1000)
@given(steps())
def test_many_random_workflows(project, steps):
    compare(project, steps)


@settings(quiet, max_examples=10)
@given(steps(), st.randoms(use_true_random=False))
def test_a_workflow_has_the_same_bytes_however_its_modules_lie(project, steps, random):
    """Blank lines and comments move calls, and change nothing but the spans."""
    source = source_of(steps)
    moved = "".join("    # a comment\n\n" * random.randint(0, 1) + line for line in source.splitlines(True))
    first, second = (encode(project.compile(text)).splitlines() for text in (source, moved))
    spans = b'{"kind":"span"'
    assert [r for r in first if not r.startswith(spans)] == [r for r in second if not r.startswith(spans)]
