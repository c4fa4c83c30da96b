"""Runs on a simulated clock."""

import graphs
import msgspec
from predicting import played, timeline


def test_what_waits_for_another_starts_at_its_end():
    assert timeline(played("a\nb < a\nc < a", {"a": 50, "b": 10})) == ["a 0-50", "b 50-60", "c 50-150"]


def test_what_has_no_room_waits_for_it():
    simulated = played("a\nb\nc", {"a": 10, "b": 30}, on=graphs.host(cpus=2))
    assert timeline(simulated) == ["a 0-10", "b 0-30", "c 10-110"]
    assert simulated.makespan_ms == 110


def test_the_scheduler_places_on_gpus():
    simulated = played("a gpus=1\nb gpus=1\nc gpus=1", on=graphs.host(cpus=9, gpus=[10, 10]))
    placed = [(interval.placement.gpus, interval.start_ms) for interval in simulated.timeline.intervals]
    assert placed == [((0,), 0), ((1,), 0), ((0,), 100)]


def test_processes_are_started_one_after_the_other():
    simulated = played("a\nb\nc < a", {"a": 40, "b": 40}, start_ms=10, fork_ms=4)
    # The second waits 4 ms for the fork of the first; then each is on its way for 10 ms.
    assert timeline(simulated) == ["a 0-50", "b 0-54", "c 50-160"]
    assert [interval.began_ms for interval in simulated.timeline.intervals] == [10, 14, 60]


def importing(text, **modules):
    """A graph whose nodes import modules, by their names."""
    plan = graphs.plan(text)
    sites = tuple(
        msgspec.structs.replace(site, imports=tuple(modules.get(site.site, "").split()))
        for site in plan.sites
    )
    return msgspec.structs.replace(plan, sites=sites)


def test_a_module_is_loaded_once_and_those_that_need_it_wait():
    plan = importing("a\nb\nc < a b\nd", a="torch math", b="torch math", c="torch math")
    simulated = played(plan, modules={"torch": 500}, on=graphs.host(cpus=3))
    assert timeline(simulated) == ["a 0-600", "b 0-600", "d 0-100", "c 600-700"]


def test_loading_begins_when_the_node_before_starts():
    plan = importing("a\nb < a", b="torch")
    assert timeline(played(plan, {"a": 300}, modules={"torch": 500})) == ["a 0-300", "b 300-600"]
    assert timeline(played(plan, {"a": 300}, modules={"torch": 200})) == ["a 0-300", "b 300-400"]


def test_a_loop_has_as_many_nodes_as_assumed():
    simulated = played("a\nm control=map < a\nz < m", assume={"m": 3}, on=graphs.host(cpus=2))
    expected = ["a 0-100", "m[0] 100-200", "m[1] 100-200", "m[2] 200-300", "z 300-400"]
    assert timeline(simulated) == expected


def test_a_branch_that_is_not_taken_takes_no_time():
    graph = "big control=branch < a\nyes when=big\nno unless=big\nz control=choose < big yes no\nend < z"
    simulated = played("a\n" + graph, assume={"big": False})
    assert timeline(simulated) == ["a 0-100", "no 100-200", "end 200-300"]
    assert played("a\n" + graph).state.by_id["yes"].state == "succeeded"


def test_a_handler_runs_at_the_end():
    assert timeline(played("a\nb after=a trigger=always\nc after=a trigger=failure")) == [
        "a 0-100",
        "b 100-200",
    ]


def test_chance_draws_for_each_node():
    plan = graphs.plan("a\nb < a")
    from flowrun.core.simulation.answers import Answers
    from flowrun.core.simulation.costs import Cost, Costs
    from flowrun.core.simulation.world import simulate

    spread = Costs({"a": Cost(100, "history", spread=1.0), "b": Cost(100, "history")}, start_ms=0, fork_ms=0)
    draws = {"a": 1.0, "b": 5.0}
    simulated = simulate(plan, {}, graphs.host(), spread, Answers({}), draws.__getitem__)
    assert timeline(simulated) == ["a 0-272", "b 272-372"]


def test_a_plan_without_nodes():
    assert played("").makespan_ms == 0
