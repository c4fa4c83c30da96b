"""What the benchmarks set beside flowrun: what is there works, what is not is left out with the reason."""

import shutil
import sys

import pytest

from benchmarks import beside


@pytest.fixture
def others():
    with beside.Beside(["numpy"], sys.executable) as others:
        yield others


@pytest.fixture
def only_pool(monkeypatch):
    monkeypatch.setattr(beside, "TOOLS", ("pool",))


def test_a_tool_that_is_there_does_each_work(others, only_pool):
    side = others.up("wide", "chain")["pool"]
    assert side.ask("wide", 10) > 0
    assert side.ask("chain", 10) > 0
    assert others.left_out == {}


def test_an_array_goes_from_one_process_to_another(others):
    with others.side("pool", "handover", 8000) as side:
        assert side.ask("handover", 1000) > 0


def test_one_that_is_not_there_is_left_out(others, monkeypatch):
    monkeypatch.setitem(others._environment, "PYTHONSAFEPATH", "1")
    monkeypatch.setattr(beside, "TOOLS", ("pool",))
    assert others.up("wide") == {}
    assert beside.reasons(others.left_out) == [
        "left out: ProcessPoolExecutor: there is no tools in its Python"
    ]


def test_one_that_takes_too_long_is_left_out(others, only_pool, monkeypatch):
    monkeypatch.setattr(beside, "_LIMIT_S", 0.01)
    assert others.up("wide") == {}
    assert others.left_out == {"pool": "it took more than 0.01 s"}


@pytest.mark.skipif(shutil.which("make") is None, reason="there is no make")
def test_make(others):
    assert others.make(lambda nodes: "all:\n" + nodes * "\t@/bin/true\n")["make"](2) > 0
