"""Addresses of what nodes made: which there are, and what is found at them however they are cut."""

import numpy as np
import pytest
from graphs import host, plan

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Exited, Logged, Opened
from flowrun.core.decide import decide
from flowrun.core.logged import gather
from flowrun.core.state import State
from flowrun.shell.keeping.addresses import get, outputs
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog


@pytest.fixture
def log(tmp_path):
    log = RunLog(Home(tmp_path / "state"), writable=True)
    yield log
    log.close()


def made(log, logged=None, **values):
    """The state of a run in which nodes gave these values; slashes of their names are written `__`.

    Node `a` has `logged` others by name.
    """
    values = {name.replace("__", "/"): value for name, value in values.items()}
    graph = plan("\n".join(values))
    run = log.create("main", "plans/main.plan.jsonl", 1000)
    artifacts = {node: log.home.store.put(value) for node, value in values.items()}
    state, event = State(graph, {}), Opened(1000, log.keep_plan(graph)[0], {}, host(), {})
    while event:
        log.append(run, log.length(run), [event, *decide(state, event)])
        if logged and isinstance(event, Opened):
            kept = {name: log.home.store.put(value) for name, value in logged.items()}
            log.append(run, log.length(run), [Logged(1000, "a", 1, artifacts=kept)])
        running = next(iter(state.running.values()), None)
        event = running and Exited(1000, running.node.id, 1, artifacts[running.node.id])
    return state, artifacts


def names(log, state, node=""):
    """Addresses without their hashes."""
    return [one.address.rpartition("/")[0] for one in outputs("main-1", state, log.home.store, node)]


class TestOutputs:
    def test_of_what_is_a_file_alone(self, log):
        state, artifacts = made(log, a=np.arange(5))
        (one,) = outputs("main-1", state, log.home.store)
        (digest,) = log.home.store.digests(artifacts["a"])
        assert (one.address, one.form) == (f"main-1/a/result/{digest}", "npy")
        assert one.path == str(log.home.store.path(digest))
        assert one.bytes == log.home.store.path(digest).stat().st_size

    def test_of_what_is_small_it_is_in_the_log(self, log):
        state, artifacts = made(log, a={"accuracy": 0.9})
        (one,) = outputs("main-1", state, log.home.store)
        assert one.address == f"main-1/a/result/{artifacts['a'].hash}"
        assert (one.form, one.path) == ("msgpack", "")

    def test_parts_are_named_by_the_way_to_them(self, log):
        value = {"model": {"weights": np.zeros(3)}, "folds": [np.ones(2), np.ones(4)], "by/name": np.ones(5)}
        state, _ = made(log, a=value)
        assert sorted(names(log, state)) == [
            "main-1/a/by%name",
            "main-1/a/folds.0",
            "main-1/a/folds.1",
            "main-1/a/model.weights",
            "main-1/a/result",
        ]

    def test_of_one_node(self, log):
        state, _ = made(log, a=1, b=2)
        assert names(log, state, "b") == ["main-1/b/result"]
        assert names(log, state, "nobody") == []

    def test_of_what_is_damaged_there_is_the_whole(self, log):
        state, artifacts = made(log, a=list(range(5000)))
        log.home.store.path(artifacts["a"].hash).unlink()
        assert names(log, state) == ["main-1/a/result"]

    def test_a_part_that_is_missing_has_no_bytes(self, log):
        state, artifacts = made(log, a=np.arange(5))
        (digest,) = log.home.store.digests(artifacts["a"])
        log.home.store.path(digest).unlink()
        (one,) = outputs("main-1", state, log.home.store)
        assert one.bytes == 0


class TestLogged:
    @pytest.fixture(autouse=True)
    def run(self, log):
        """Node `a` logged a value, an array, parts, and something that is called as its result is."""
        values = {"note": {"x": 1}, "loss/all": np.arange(5), "parts": [np.ones(2)], "result": "logged"}
        return made(log, values, a=1)[0]

    def test_stands_after_results(self, log, run):
        logged = gather(log.changes("main-1")).artifacts
        found = outputs("main-1", run, log.home.store, "", logged)
        assert [one.address.rpartition("/")[0].removeprefix("main-1/a/") for one in found] == [
            "result",
            "note",
            "loss%all",
            "parts",
            "parts.0",
            "result",
        ]

    def test_is_found_by_name(self, log, tmp_path):
        assert get(log, "main-1/a/note", None) == {"x": 1}
        assert get(log, "main-1/a", None) == get(log, "main-1/a/result", None) == 1
        get(log, "main-1/a/loss%all", tmp_path / "loss.npy")
        assert np.load(tmp_path / "loss.npy").tolist() == [*range(5)]


class TestGet:
    @pytest.fixture(autouse=True)
    def run(self, log):
        return made(log, a=[1, 2, 3], ab=np.arange(4), scope__a={"x": np.arange(7), "y": "text"})

    def code(self, log, address, target=None):
        with pytest.raises(Refused) as refused:
            get(log, address, target)
        return refused.value.diagnostics[0].code

    @pytest.mark.parametrize("address", ["main-1/a", "main-1/a/result", "main-1/a/result/"])
    def test_a_value(self, log, address):
        assert get(log, address, None) == [1, 2, 3]

    def test_a_node_within_a_scope(self, log):
        assert get(log, "main-1/scope/a", None)["y"] == "text"

    @pytest.mark.parametrize("length", [0, 1, 7, 64])
    def test_a_hash_may_be_cut_anywhere(self, log, run, tmp_path, length):
        state, _ = run
        full = next(
            one.address for one in outputs("main-1", state, log.home.store) if "/scope/a/x/" in one.address
        )
        get(log, full[: len(full) - 64 + length], tmp_path / "x.npy")
        assert np.load(tmp_path / "x.npy").tolist() == [*range(7)]

    @pytest.mark.parametrize(
        "address", ["main-1", "main-1/", "main-1/scope", "main-1/scop", "main-1/a/resu", "main-1/c"]
    )
    def test_names_may_not(self, log, address):
        assert self.code(log, address) == "FR162"

    def test_what_is_small_can_be_written_too(self, log, tmp_path):
        get(log, "main-1/a", tmp_path / "a.msgpack")
        assert (tmp_path / "a.msgpack").read_bytes() == b"\x93\x01\x02\x03"

    def test_of_no_run(self, log):
        assert self.code(log, "main-7/a") == "FR301"

    def test_a_file_that_cannot_be_written(self, log, tmp_path):
        assert self.code(log, "main-1/a", tmp_path) == "FR163"

    def test_what_is_damaged(self, log, run, tmp_path):
        (digest,) = log.home.store.digests(run[1]["ab"])
        log.home.store.path(digest).unlink()
        assert self.code(log, "main-1/ab", tmp_path / "ab.npy") == "FR307"
        assert not (tmp_path / "ab.npy").exists()
