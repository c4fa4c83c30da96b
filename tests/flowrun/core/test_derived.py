"""What follows from a plan, computed elsewhere, makes the same state."""

import msgspec
from graphs import host, plan

from flowrun.core.changes import Opened
from flowrun.core.derived import Derived, derive
from flowrun.core.state import State

GRAPH = plan("""
load reads=n
fit[a] < load cpus=2
fit[b] < load
tell < fit[a] fit[b] trigger=always
""")


def test_it_survives_the_way_to_another_process():
    derived = derive(GRAPH, {"n": 3})
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(derived), type=Derived) == derived
    assert derived.missing == [0, 1, 1, 3]
    assert [GRAPH.sites[site].site for site in derived.sites] == ["load", "fit", "fit", "tell"]


def test_a_state_of_it_is_the_same():
    given, own = (State(GRAPH, {"n": 3}, derived=known) for known in (derive(GRAPH, {"n": 3}), None))
    assert given.tasks == own.tasks
    assert (given.keys, given.dependents) == (own.keys, own.dependents)
    given.apply(Opened(1, "p", {"n": 3}, host()))
    assert list(given.scheduler.queue) == [("", "load")]
