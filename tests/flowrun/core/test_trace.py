"""A run as a trace: slots, waits, dependencies, what is held."""

from graphs import host, plan

from flowrun.core.changes import Exited, Logged, Opened, Point, Resolved
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure, Usage
from flowrun.core.state import State
from flowrun.core.trace import Moment, trace

GRAPH = "load\nm control=map < load\nsum < m\nother gpus=1 gpu_memory=100\nmore gpus=1 gpu_memory=100"
HOST = host(cpus=3, gpus=[1000])


def play(*events, graph=GRAPH):
    """The changes of a run that these events made."""
    state, changes = State(plan(graph), {}), []
    for event in (Opened(1000, "p", {}, HOST), *events):
        changes += [event, *decide(state, event)]
    return changes


def done(at, node, attempt=1):
    return Exited(at, node, attempt, Artifact(node, 8), usage=Usage(10, 20, 30))


def fails(at, node, attempt=1):
    return Exited(at, node, attempt, failure=Failure("FR201", "no"))


def traced(*changes, graph=GRAPH):
    return trace([(State(plan(graph), {}), some) for some in changes])


def test_attempts_have_slots_and_those_that_share_a_gpu_lanes():
    changes = play(
        done(1100, "load"),
        Resolved(1100, "m", ("0", "1")),
        done(1300, "other"),
        done(1500, "m[0]"),
        done(1500, "more"),
        done(1600, "m[1]"),
    )
    found = traced(changes)
    slots = {ran.node: (ran.slot, ran.lanes, ran.start_ms, ran.end_ms) for ran in found.slices}
    assert slots == {
        "load": (0, {}, 1000, 1100),
        "other": (1, {0: 0}, 1000, 1300),
        "more": (2, {0: 1}, 1000, 1500),
        "m[0]": (0, {}, 1100, 1500),
        "m[1]": (1, {}, 1300, 1600),
        "sum": (0, {}, 1600, 1600),
    }
    waited = {ran.node: ran.start_ms - ran.ready_ms for ran in found.slices if ran.start_ms > ran.ready_ms}
    assert waited == {"m[1]": 200}
    assert (found.begin_ms, found.end_ms, found.slices[0].own_ms) == (1000, 1600, 30)
    assert not found.slices[-1].over
    assert found.moments[0] == Moment(1000, 0, 3, 0, 0)


def test_what_a_loop_came_to_stands_for_it():
    found = traced(
        play(done(1100, "load"), Resolved(1100, "m", ("0", "1")), done(1200, "m[0]"), done(1300, "m[1]"),
             done(1300, "other"), done(1300, "more"))
    )  # fmt: skip
    names = [ran.node for ran in found.slices]
    flows = {(names[first], names[second]) for first, second in found.flows}
    assert flows == {("load", "m[0]"), ("load", "m[1]"), ("m[0]", "sum"), ("m[1]", "sum")}


def test_every_attempt_of_every_execution_is_told():
    graph = "a retries=1 backoff=0"
    first = play(fails(1100, "a"), fails(1200, "a", 2), graph=graph)
    found = traced(first, play(done(1500, "a"), graph=graph), graph=graph)
    attempts = [(ran.attempt, ran.start_ms, ran.failure is None) for ran in found.slices]
    assert attempts == [(1, 1000, False), (2, 1100, False), (1, 1000, True)]
    assert found.end_ms == 1500


def test_what_was_logged_is_there():
    logged = Logged(1050, "load", 1, (Point("loss", 0.5, 1, 1040),), ("note",))
    changes = play()
    assert traced([*changes, logged]).logged == [logged]
