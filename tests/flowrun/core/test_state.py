"""The state of a run: what each change does to it, and resume."""

from graphs import Run, host, plan
from msgspec import structs

from flowc.plan.model import Estimate
from flowrun.core.changes import Earlier, Opened, Start
from flowrun.core.model import Artifact, Placement, Usage
from flowrun.core.state import State

DIAMOND = """
    load
    left  < load
    right < load
    join  < left right
"""
DONE = Artifact("d" * 64, 10)


class TestBeginning:
    def test_roots_are_ready(self):
        state = State(plan(DIAMOND), {})
        state.apply(Opened(0, "a" * 64, {}, host()))
        assert [task.state for task in state.tasks] == ["ready", "pending", "pending", "pending"]
        assert (state.unfinished, state.expected.drift_ms, state.ended_ms) == (4, 0, 0)

    def test_priority_is_the_longest_chain_below(self):
        state = State(plan("a\nb < a\nc < b\nd < a"), {})
        assert [task.priority for task in state.tasks] == [3, 2, 1, 1]

    def test_known_times_count_instead_of_the_number_of_nodes(self):
        graph = plan("long\na\nb < a\nc < b")
        times = {"long": Estimate(5000, "declared"), "b": Estimate(500, "history", 3)}
        sites = tuple(structs.replace(s, estimate=times.get(s.site, s.estimate)) for s in graph.sites)
        run = Run(structs.replace(graph, sites=sites), host(cpus=1))
        assert [task.priority for task in run.state.tasks] == [5, 2.5, 1.5, 1]
        assert run.opened == ["start long.1"]

    def test_an_attempt_is_remembered(self):
        run = Run("a timeout=900", now=50)
        task = run["a"]
        assert (task.state, task.attempt, task.started_ms) == ("running", 1, 50)
        assert task.placement == Placement(1)
        assert run.state.running == {"a": task}

    def test_an_end_is_remembered(self):
        run = Run("a")
        run.now = 70
        run.done("a", "e" * 64)
        task = run["a"]
        assert (task.state, task.ended_ms, task.artifact) == ("succeeded", 70, Artifact("e" * 64, 10))
        assert (run.state.running, run.state.unfinished, run.state.ended_ms) == ({}, 0, 70)

    def test_a_success_after_a_failure_leaves_no_failure(self):
        run = Run("a retries=1 backoff=0")
        run.fails("a")
        assert run["a"].failure is not None
        run.done("a")
        assert run["a"].failure is None


class TestResume:
    def test_done_nodes_stay_done(self):
        earlier = {"load": Earlier(2, 10, 30, Usage(5, 6), DONE), "left": Earlier(1, 30, 40, Usage(), DONE)}
        run = Run(DIAMOND, earlier=earlier, now=1000)
        load = run["load"]
        assert run.opened == ["start right.1"]
        assert run.states() == {"succeeded": "load left", "running": "right", "pending": "join"}
        assert (load.kept, load.artifact, load.usage) == (True, DONE, Usage(5, 6))
        assert (load.attempt, load.started_ms, load.ended_ms) == (2, 10, 30)
        assert run.state.unfinished == 2

    def test_attempts_are_counted_on(self):
        assert Run("a", earlier={"a": Earlier(3)}).opened == ["start a.4"]
        assert not Run("a", earlier={"a": Earlier(3)})["a"].kept

    def test_retries_are_counted_anew(self):
        run = Run("a retries=1 backoff=0", earlier={"a": Earlier(2)})
        assert run.fails("a") == ["retry a at 0", "start a.4"]
        assert run.fails("a") == ["fail a", "finish failed"]

    def test_with_everything_done_it_ends_at_once(self):
        assert Run("a", earlier={"a": Earlier(1, 0, 1, Usage(), DONE)}).opened == ["finish succeeded"]

    def test_a_node_may_be_done_though_what_it_needed_is_not(self):
        run = Run("a\nb < a\nc < b", earlier={"b": Earlier(1, 0, 1, Usage(), DONE)})
        assert run.opened == ["start a.1", "start c.1"]
        assert run.done("a") == []
        assert run.done("c") == ["finish succeeded"]

    def test_the_order_of_what_was_done_does_not_matter(self):
        done = {node: Earlier(1, 0, 1, Usage(), DONE) for node in ("left", "load", "right")}
        assert Run(DIAMOND, earlier=done).opened == ["start join.1"]
        assert Run(DIAMOND, earlier=dict(reversed(done.items()))).opened == ["start join.1"]


def test_what_is_held_is_given_back_when_an_attempt_ends():
    run = Run("a cpus=2 memory=10 gpus=1 gpu_memory=5", on=host(2, 100, [8]))
    free = run.state.scheduler.pool
    assert free.left() == host(0, 90, [3])
    run.fails("a")
    assert free.left() == host(2, 100, [8])


def test_applying_the_changes_gives_the_same_state():
    live = Run("a\nb < a")
    copy = State(live.plan, {})
    copy.apply(Opened(0, "plan", {}, host()))
    copy.apply(Start(0, "a", 1, Placement(1), live.state.keys[0]))
    assert copy.by_id["a"] == live["a"]
