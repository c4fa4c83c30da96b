"""What a run is going to take from earlier ones: all that its cache has, through loops and branches."""

from graphs import Run, host, plan

from flowrun.core.changes import Earlier, Opened, Resolve, Resolved, Verified
from flowrun.core.foretelling import foretell
from flowrun.core.model import Artifact, Origin
from flowrun.core.reuse import Cache, Hit
from flowrun.core.state import State

GRAPH = """
items
m control=map < items
sum < m
big control=branch < sum
yes when=big
no unless=big
other reads=n
always cache=0
late < always
"""


def finished():
    """A run of it, and what it computed by content key; `sum` is large."""
    run = Run(GRAPH, inputs={"n": 1}, on=host(cpus=9), cache=Cache(lambda key: None))
    while run.state.status == "running":
        node = next(task.node.id for task in run.state.tasks if task.state == "running" and not task.parts)
        if run[node].site.control == "none":
            run.done(node, node.encode().hex())
        else:
            run.knows(node, {"m": 3, "big": True}[node])
    return {
        key: Hit(run[node].artifact, Origin("old-1", node), verified=node != "sum")
        for node, key in run.state.contents.items()
        if run[node].artifact
    }


def foretold(text, found, n=1, sound=True, earlier=None):
    state = State(plan(text, {"n": "int"}), {"n": n}, cache=Cache(found.get))

    def answer(asked):
        if isinstance(asked, Resolve):
            return Resolved(0, asked.node, names=("0", "1", "2"), truth=True)
        return Verified(0, asked.node, asked.artifact.hash, sound)

    foretell(state, Opened(0, "p", {"n": n}, host(cpus=9), earlier or {}), answer)
    states = {}
    for task in state.tasks:
        states.setdefault(task.state, set()).add(task.node.id)
    return states


def test_all_that_was_computed_is_found_through_loops_and_branches():
    assert foretold(GRAPH, finished()) == {
        "succeeded": {"items", "m", "m[0]", "m[1]", "m[2]", "sum", "big", "yes", "other"},
        "skipped": {"no"},
        "ready": {"always"},
        "pending": {"late"},
    }


def test_what_reads_another_input_runs():
    assert foretold(GRAPH, finished(), n=2)["ready"] == {"other", "always"}


def test_a_loop_over_what_is_not_known_stays_folded():
    states = foretold(GRAPH.replace("items\n", "items code=new\n", 1), finished())
    assert states["succeeded"] == {"other"}
    assert {"m", "sum", "big", "yes", "no", "late"} == states["pending"]


def test_what_is_gone_runs():
    states = foretold(GRAPH, finished(), sound=False)
    assert "sum" in states["ready"]
    assert "big" in states["pending"]


def test_what_is_done_already_counts():
    earlier = {"always": Earlier(2, artifact=Artifact("a" * 64, 1))}
    assert "always" in foretold(GRAPH.replace(" cache=0", ""), {}, earlier=earlier)["succeeded"]
