"""The cost model: which number counts, and where it is from."""

import msgspec
import pytest

from flowc.estimates import estimate, objections
from flowc.plan.diagnostics import Place
from flowc.plan.graph import bottom_levels, dependencies, weights
from flowc.plan.history import Record, of_plan
from flowc.plan.model import FORMAT, Estimate, Header, Node, Plan, Resources, Site

SAME = Record("ops:fit", "c0de", 12, 2500, 4000, 300)
OTHER = Record("ops:fit", "01d0", 3, 9000, 9500, 500)
DECLARED = Estimate(30_000, "declared")


def plan(*sites):
    return Plan(Header(FORMAT, "flow:main"), sites=sites, nodes=tuple(Node(site.site) for site in sites))


def fit(**of):
    return Site("fit", "ops:fit", "c0de", **of)


@pytest.mark.parametrize(
    ("declared", "history", "expected"),
    [
        (Estimate(), [], Estimate()),
        (DECLARED, [], DECLARED),
        (Estimate(), [SAME], Estimate(2500, "history", 12, 300)),
        (DECLARED, [SAME, OTHER], Estimate(2500, "history", 12, 300)),
        (Estimate(), [Record("ops:fit", "c0de", 3, 900, own_ms=200)], Estimate(200, "history", 3)),
        (Estimate(), [OTHER], Estimate(9000, "earlier", 3, 500)),
        (DECLARED, [OTHER], DECLARED),
        (DECLARED, [Record("ops:load", "c0de", 1, 1)], DECLARED),
        (Estimate(), [Record("ops:fit", "c0de", 1, 0)], Estimate(1, "history", 1)),
    ],
)
def test_what_counts(declared, history, expected):
    assert estimate(plan(fit(estimate=declared)), history).sites[0].estimate == expected


def test_of_several_earlier_codes_the_one_with_most_calls_counts():
    history = [OTHER, Record("ops:fit", "01d1", 8, 7000), Record("ops:fit", "01d2", 2, 1)]
    for order in (history, history[::-1]):
        assert estimate(plan(fit()), order).sites[0].estimate.ms == 7000


def test_a_declared_need_is_never_lowered():
    needs = Resources(memory_mb=8000)
    assert estimate(plan(fit(needs=needs)), [SAME]).sites[0].needs == needs


def test_branches_and_choices_have_no_time():
    site = Site("if", "flowc.control:branch", "", control="branch")
    assert estimate(plan(site), [Record("flowc.control:branch", "", 1, 5)]).sites == (site,)
    assert weights(plan(site, fit())) == [0.0, 1.0]


def test_a_plan_tells_its_history():
    sites = (fit(), Site("load", "ops:load", "f00d", estimate=DECLARED), Site("prep", "ops:prep", "new"))
    history = [SAME, Record("ops:prep", "old", 4, 70)]
    found = estimate(plan(*sites), history)
    assert of_plan(found) == (Record("ops:fit", "c0de", 12, 2500, 0, 300), Record("ops:prep", "", 4, 70))
    assert estimate(plan(*sites), of_plan(found)) == found


def test_the_longest_way_in_time():
    nodes = (
        Node("quick"),
        Node("slow"),
        Node("a", {"x": {"from": "quick"}}),
        Node("b", {"x": {"from": "a"}}),
    )
    times = {"quick": 100, "slow": 5000, "a": 200}
    sites = tuple(Site(n.id, f"ops:{n.id}", "c0", estimate=Estimate(times.get(n.id, 0))) for n in nodes)
    found = Plan(Header(FORMAT, "flow:main"), sites=sites, nodes=nodes)
    assert bottom_levels(dependencies(nodes), weights(found)) == pytest.approx([1.3, 5, 1.2, 1])


def codes(*sites, history=(SAME,)):
    found = estimate(plan(*sites), history)
    places = {site.site: Place("flow.py", i + 1) for i, site in enumerate(sites)}
    return [
        (d.code, d.severity, d.labels[0].place.line if d.labels else 0)
        for d in objections(found, history, places)
    ]


def test_what_history_belies():
    assert codes(fit(needs=Resources(memory_mb=200))) == [("FC302", "warning", 1)]
    assert codes(fit(timeout_ms=3000)) == [("FC303", "warning", 1)]
    assert codes(fit(timeout_ms=4000, needs=Resources(memory_mb=300))) == []
    assert codes(fit(), history=()) == []
    assert codes(Site("load", "ops:load", "f00d")) == [("FC261", "warning", 0)]


def test_memory_of_gpus_is_of_all_together():
    hungry = (msgspec.structs.replace(SAME, gpu_peak_mb=9001),)
    assert codes(fit(needs=Resources(gpus=2, gpu_memory_mb=4500)), history=hungry) == [
        ("FC302", "warning", 1)
    ]
    assert codes(fit(needs=Resources(gpus=2, gpu_memory_mb=4501)), history=hungry) == []
    assert codes(fit(needs=Resources(gpus=1)), history=hungry) == []  # it has its GPU whole


def test_an_operator_is_complained_of_once():
    twice = (fit(timeout_ms=1), Site("fit~2", "ops:fit", "c0de", timeout_ms=1))
    assert codes(*twice) == [("FC303", "warning", 1)]
