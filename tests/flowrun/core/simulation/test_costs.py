"""How long calls are taken to need."""

import graphs
import msgspec
import pytest

from flowc.plan.history import History, Record, Runner
from flowc.plan.model import Estimate
from flowrun.core.simulation.costs import DEFAULT_MS, START_MS, Cost, Costs, costs_of

MEASURED = Record("flows:fit", "c0de", 9, 500, 900, own_ms=200, own_ms_p90=400)
EARLIER = Record("flows:fit", "01d", 30, 800, 800)


def cost(history=(), **estimate):
    plan = graphs.plan("fit")
    sites = (msgspec.structs.replace(plan.sites[0], estimate=Estimate(**estimate)),)
    return costs_of(msgspec.structs.replace(plan, sites=sites), History(tuple(history))).sites["fit"]


def test_the_same_code_comes_first():
    found = cost([MEASURED, EARLIER], ms=7, source="declared")
    assert (found.ms, found.source, found.adds_start) == (200, "history", True)
    assert found.spread == pytest.approx(0.5409, abs=1e-4)  # so that nine of ten stay within 400 ms


def test_what_is_declared_comes_before_earlier_code():
    assert cost([EARLIER], ms=7, source="declared") == Cost(7, "declared")
    assert cost([EARLIER]) == Cost(800, "earlier", adds_start=False)


def test_a_plan_tells_without_a_history():
    assert cost(ms=90, source="history", runs=3) == Cost(90, "history")
    assert cost(ms=90, source="earlier", runs=3) == Cost(90, "earlier")


def test_nothing_known():
    assert cost() == Cost(DEFAULT_MS, "default")
    assert costs_of(graphs.plan("a")).start_ms == START_MS
    assert costs_of(graphs.plan("a"), History((), {"torch": 9}, Runner(4, 3, 2))) == Costs(
        {"a": Cost(DEFAULT_MS, "default")}, {"torch": 9}, 3, 2
    )
    assert costs_of(graphs.plan("a"), History(runner=Runner(4))).start_ms == 0  # less than could be measured
