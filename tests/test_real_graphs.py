"""Graphs that no one here drew, through the whole of `flowc.plan`: their known counts, and depth without end.

They lie outside the repository; `FLOW_DATA` names the folder.
"""

import json

import pytest

from benchmarks.graph_files import FILES, data_folder, plan_of, read_aiger
from flowc.plan.codec import decode, encode
from flowc.plan.diagnostics import Refused
from flowc.plan.graph import bottom_levels, circles, dependencies, dependents, depths
from flowc.show import show
from flowc.wfformat import import_workflow, read_tasks

DATA = data_folder()
pytestmark = pytest.mark.skipif(
    not (DATA / "dag").is_dir(), reason=f"no published graphs in {DATA}: FLOW_DATA names their folder"
)
# Nodes, edges and levels: of the circuits as in known.json, of the others as in the data's README.
KNOWN = {
    "log2.aig": (32 + 32_060, 64_120, 444 + 1),
    "mem_ctrl.aig": (1204 + 46_836, 93_672, 114 + 1),
    "jax_commit_dag.json.gz": (37_554, 46_765, 29_023),
    "debian_bookworm_dag.json.gz": (63_337, 256_456, 37),
}


# The others take seconds each.
QUICK = ("log2.aig", "jax_commit_dag.json.gz")


@pytest.fixture(
    scope="module",
    params=[pytest.param(file, marks=() if file in QUICK else pytest.mark.slow) for file in FILES],
)
def file(request):
    return request.param


@pytest.fixture(scope="module")
def graph(file):
    return FILES[file](DATA / "dag" / file)


def test_a_published_graph_keeps_its_known_counts_as_a_plan(file, graph):
    plan = plan_of(graph)
    data = encode(plan)
    read = decode(data, "p")
    assert read == plan
    assert encode(read) == data
    depends_on = dependencies(read.nodes)
    assert depends_on == graph.waits_for
    assert (len(read.nodes), sum(map(len, depends_on)), len(read.levels)) == KNOWN[file]


def test_levels_dependents_and_paths_of_a_published_graph_are_those_of_networkx(graph):
    import networkx as nx

    built = nx.DiGraph((s, i) for i, sources in enumerate(graph.waits_for) for s in sources)
    built.add_nodes_from(range(len(graph.waits_for)))
    depth = depths(graph.waits_for)
    for level, generation in enumerate(nx.topological_generations(built)):
        assert {depth[i] for i in generation} == {level}
    assert dependents(graph.waits_for) == [sorted(built.successors(i)) for i in range(len(graph.waits_for))]
    assert max(bottom_levels(graph.waits_for, [1.0] * len(depth))) == nx.dag_longest_path_length(built) + 1
    assert circles(graph.waits_for) == ([], 0, 0)


def test_a_published_graph_can_be_shown(graph):
    text = show(plan_of(graph))
    assert f"{len(graph.waits_for)} nodes" in text
    assert "longest path: " in text


def test_a_published_graph_that_is_closed_to_a_circle_is_refused(graph):
    """The deepest node is waited for by one that it waits for, over the longest way there is."""
    plan = plan_of(graph)
    depth = depths(graph.waits_for)
    last = max(range(len(depth)), key=depth.__getitem__)
    first = last
    while graph.waits_for[first]:
        first = max(graph.waits_for[first], key=depth.__getitem__)
    row = f'{{"kind":"node","id":"{plan.nodes[first].id}"'
    data = encode(plan).replace(
        f"{row}}}\n".encode(), f'{row},"after":["{plan.nodes[last].id}"]}}\n'.encode()
    )
    with pytest.raises(Refused) as refusal:
        decode(data, "p")
    assert {d.code for d in refusal.value.diagnostics} == {"FC206"}
    assert 1 <= len(refusal.value.diagnostics) <= 20
    assert all(
        f"`{plan.nodes[last].id}`" in d.message or "more" in d.message for d in refusal.value.diagnostics
    )


def test_the_circuits_have_the_counts_that_were_published():
    known = json.loads((DATA / "dag" / "known.json").read_text())
    for file in ("log2.aig", "mem_ctrl.aig"):
        graph, said = read_aiger(DATA / "dag" / file), known[file]
        assert graph.kinds.count("input") == said["inputs"]
        assert graph.kinds.count("gate") == said["and_nodes"]
        assert sum(map(len, graph.waits_for)) == said["edges"]
        assert max(depths(graph.waits_for)) == said["depth"]


def recorded():
    index = DATA / "wf" / "index.json"
    return json.loads(index.read_text()) if index.is_file() else []


@pytest.mark.parametrize("known", recorded(), ids=lambda known: known["path"].rpartition("/")[2])
def test_a_recorded_workflow_keeps_its_known_figures(known):
    path = DATA / "wf" / f"{known['path'].replace('/', '__')}.gz"
    plan = import_workflow(path)
    assert decode(encode(plan), "p") == plan
    depends_on = dependencies(plan.nodes)
    assert (len(plan.nodes), sum(map(len, depends_on))) == (known["n"], known["edges"])
    runtimes = [node.args["runtime_s"] for node in plan.nodes]
    assert sum(runtimes) == pytest.approx(known["work"], abs=0.01)
    assert max(bottom_levels(depends_on, runtimes)) == pytest.approx(known["cp"], abs=0.01)
    # Every task is there under its own id, and waits for its own parents.
    tasks = read_tasks(path)
    place = {node.args["task"]: i for i, node in enumerate(plan.nodes)}
    assert {task.id for task in tasks} == set(place)
    for task in tasks:
        assert depends_on[place[task.id]] == sorted(place[tasks[p].id] for p in task.parents)
    # A site is a kind: far fewer than tasks, as many as the workflow has programs.
    assert len(plan.sites) == len({task.kind for task in tasks}) <= 85
