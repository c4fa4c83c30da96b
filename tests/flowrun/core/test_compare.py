"""What differs between two runs."""

import msgspec
from graphs import Run, plan

from flowrun.core.changes import Exited
from flowrun.core.compare import NodePair, Pair, Side, compare
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Usage

GRAPH = "load reads=n\nclean < load\ntrain < clean depth=3\nother"


def played(text=GRAPH, n=1, took=(), peak=(), fails=(), versions=None, packages=(), salt=""):
    """A run to its end. Every node gives what its key says, in 100 ms and 20 MB if nothing else is told."""
    described = plan(text)
    codes = [msgspec.structs.replace(code, packages=packages) for code in described.codes]
    run = Run(msgspec.structs.replace(described, codes=tuple(codes)), inputs={"n": n})
    state = run.state
    while state.running:
        node = next(iter(state.running))
        task = state.by_id[node]
        run.now = task.started_ms + dict(took).get(node, 100)
        if node in fails:
            run.fails(node)
            continue
        result = Artifact((state.keys[task.index] + salt)[-64:], 8)
        decide(state, Exited(run.now, node, 1, result, usage=Usage(5, dict(peak).get(node, 20))))
    return Side(f"main-{n}", state.status, state, versions or {}, text, state.ended_ms)


def nodes(first, second):
    return {pair.node: pair for pair in compare(first, second).nodes}


def test_a_run_is_as_itself():
    found = compare(played(), played())
    assert (found.inputs, found.versions, found.code, found.nodes, found.same) == ({}, {}, [], [], 4)
    assert found.same_plan
    assert found.workflow is None


def test_another_input_makes_all_that_comes_of_it_another():
    found = compare(played(n=1), played(n=2))
    assert found.inputs == {"n": Pair(1, 2)}
    because = {pair.node: pair.because for pair in found.nodes}
    assert because == {"load": ("input `n`",), "clean": ("`load`",), "train": ("`clean`",)}
    assert found.same == 1


def test_another_argument_and_another_code():
    changed = played("load reads=n\nclean code=c1ea < load\ntrain < clean depth=4\nother\nnew")
    found = compare(played(), changed)
    because = {pair.node: pair.because for pair in found.nodes}
    assert because == {"clean": ("its code",), "train": ("its arguments", "`clean`")}
    assert found.code == ["flows:clean"]
    assert (found.only_first, found.only_second, found.same_plan) == ([], ["new"], False)


def test_the_same_key_with_another_result():
    pair = nodes(played(), played(salt="x"))["load"]
    assert pair.artifact is not None
    assert pair.because == ()


def test_what_failed_and_what_was_blocked_by_it():
    found = nodes(played(), played(fails=["clean"]))
    assert found["clean"].state == Pair("succeeded", "failed")
    assert found["train"].state == Pair("succeeded", "blocked")
    assert found["train"].artifact.second is None
    assert found["train"].wall_ms is None  # it did not run


def test_times_and_memory_count_when_they_are_far_apart():
    one = played(took={"load": 1000, "clean": 10, "other": 1000}, peak={"load": 100, "clean": 1})
    other = played(took={"load": 2000, "clean": 40, "other": 1100}, peak={"load": 200, "clean": 9})
    load = NodePair("load", wall_ms=Pair(1000, 2000), peak_mb=Pair(100, 200))
    assert nodes(one, other) == {"load": load}
