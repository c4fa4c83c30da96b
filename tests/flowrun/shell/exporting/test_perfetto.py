"""Traces, checked against what the description of the format says of each kind of event."""

import itertools
import json

from graphs import host, plan

from flowrun.core.changes import Exited, Logged, Opened, Point
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure, Usage
from flowrun.core.state import State
from flowrun.core.trace import trace
from flowrun.shell.exporting.perfetto import encode

GRAPH = "load\nclean < load cpus=2\ntrain < clean gpus=1 gpu_memory=100\ntest < clean gpus=1 gpu_memory=100"
HOST = host(cpus=2, gpus=[1000])
NEEDS = {
    "X": {"name", "cat", "ts", "dur", "pid", "tid"},
    "b": {"name", "cat", "id", "ts", "pid", "tid"},
    "e": {"name", "cat", "id", "ts", "pid", "tid"},
    "s": {"name", "cat", "id", "ts", "pid", "tid"},
    "f": {"name", "cat", "id", "ts", "pid", "tid", "bp"},
    "C": {"name", "ts", "pid", "args"},
    "i": {"name", "ts", "pid", "tid", "s"},
    "M": {"name", "pid", "args"},
}


def events():
    state, changes = State(plan(GRAPH), {}), []
    happened = [
        Opened(1000, "p", {}, HOST),
        Exited(1100, "load", 1, Artifact("a", 8), usage=Usage(1, 2, 60)),
        Logged(1150, "clean", 1, (Point("rows", 7.0, 1, 1140), Point("loss", "nan", 1, 1140)), ("a note",)),
        Exited(1200, "clean", 1, Artifact("b", 8), usage=Usage(1, 2, 100)),
        Exited(1300, "train", 1, failure=Failure("FR201", "no")),
        Exited(1400, "test", 1, Artifact("c", 8)),
    ]
    for event in happened:
        changes += [event] if isinstance(event, Logged) else [event, *decide(state, event)]
    found = trace([(State(plan(GRAPH), {}), changes)])
    document = json.loads(encode("main-1", "flows:main", found, HOST))
    assert document["displayTimeUnit"] == "ms"
    return document["traceEvents"]


def of(kind):
    return [event for event in events() if event["ph"] == kind]


def test_every_event_has_what_its_kind_needs():
    for event in events():
        assert NEEDS[event["ph"]] <= event.keys(), event
        assert event.get("ts", 0) >= 0
        assert isinstance(event.get("ts", 0), int)


def test_slices_of_a_track_are_in_each_other_or_apart():
    slices = of("X")
    assert {event["name"] for event in slices} == {"load", "clean", "train", "test", "process"}
    for one, other in itertools.combinations(slices, 2):
        if (one["pid"], one["tid"]) == (other["pid"], other["tid"]):
            (a, b), (c, d) = sorted((event["ts"], event["ts"] + event["dur"]) for event in (one, other))
            assert c >= b or d <= b or a == c, (one, other)


def test_arrows_go_from_within_a_slice_to_the_beginning_of_one():
    slices = {
        (event["pid"], event["tid"], event["name"]): event for event in of("X") if event["cat"] != "process"
    }
    assert len(of("s")) == len(of("f")) == 3
    for event in (*of("s"), *of("f")):
        on = [s for (pid, tid, _), s in slices.items() if (pid, tid) == (event["pid"], event["tid"])]
        assert any(s["ts"] <= event["ts"] <= s["ts"] + s["dur"] for s in on)


def test_what_begins_ends():
    assert sorted(e["id"] for e in of("b")) == sorted(e["id"] for e in of("e"))


def test_tracks_have_names_and_what_was_logged_is_on_one():
    names = {(e["name"], e["args"]["name"]) for e in of("M") if "name" in e["args"]}
    assert ("thread_name", "GPU 0: GPU") in names
    assert ("thread_name", "GPU 0: GPU (2)") in names
    assert ("process_name", "workers") in names
    assert [e["name"] for e in of("i")] == ["a note"]
    assert [e["args"] for e in of("C") if e["name"] == "clean: rows"] == [{"rows": 7.0}]
    assert {e["name"] for e in of("C")} == {"clean: rows", "nodes", "CPUs held", "memory held (MB)"}
