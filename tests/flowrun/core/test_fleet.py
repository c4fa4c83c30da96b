"""Runs that share a host: what one gives back another gets, who may take, and what by time alone happens."""

import pytest
from graphs import host, plan, say

from flowc.plan.model import Resources
from flowrun.core.changes import CancelRequested, Exited, Opened
from flowrun.core.fleet import Fleet, abandon, decide, evict, look
from flowrun.core.model import Artifact, Failure
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.preempting import ByShares
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Preemption, Sharing, Team
from flowrun.core.state import Shared, State
from flowrun.shell.teams import amounts


class Runs:
    """Runs of teams `a` and `b` on two CPUs. What is decided comes back as text: `main-1: start x.1`."""

    def __init__(self, **preemption):
        self.host = host(cpus=2)
        rules = Preemption(run_at_least_s=0, notice_s=7, **preemption)
        sharing = Sharing(teams={"a": Team(), "b": Team()}, preemption=rules)
        order = Fair(Shares(sharing, amounts(self.host)), 0)
        scheduler = Scheduler(Pool((self.host,)), order, ByShares(order), grace_ms=7000)
        self.fleet = Fleet(scheduler)
        self.now = 0

    def open(self, graph, team=0, tier=3, priority=0):
        name = f"main-{len(self.fleet.runs) + 1}"
        shared = Shared(self.fleet.scheduler, name, Lane(team, tier), (-priority, len(self.fleet.runs)))
        self.fleet.runs[name] = State(plan(graph), {}, shared=shared)
        return self.happens(name, Opened(self.now, "plan", {}, self.host))

    def done(self, run, node):
        attempt = self.task(run, node).attempt
        return self.happens(run, Exited(self.now, node, attempt, Artifact("a" * 64, 1)))

    def dies(self, run, node, code="FR202"):
        attempt = self.task(run, node).attempt
        return self.happens(run, Exited(self.now, node, attempt, failure=Failure(code, "killed")))

    def happens(self, run, event):
        return self.text(decide(self.fleet, run, event))

    def task(self, run, node):
        return self.fleet.runs[run].by_id[node]

    @staticmethod
    def text(decided):
        return [f"{run}: {say(command)}" for run, command in decided]


def test_what_one_gives_back_another_gets():
    runs = Runs()
    assert runs.open("x\ny") == ["main-1: start x.1", "main-1: start y.1"]
    assert runs.open("z", team=1) == []
    assert runs.done("main-1", "x") == ["main-2: start z.1"]
    assert runs.done("main-1", "y") == ["main-1: finish succeeded"]
    assert runs.done("main-2", "z") == ["main-2: finish succeeded"]


def test_a_cancelled_run_makes_room():
    runs = Runs()
    runs.open("x\ny\nlater")
    runs.open("z", team=1)
    runs.happens("main-1", CancelRequested(0))
    assert runs.dies("main-1", "x") == ["main-1: cancel x", "main-2: start z.1"]
    assert runs.dies("main-1", "y") == ["main-1: cancel y", "main-1: finish cancelled"]


def test_a_run_that_is_abandoned_ends_at_once_and_makes_room():
    runs = Runs()
    runs.open("x\ny < x\nlast trigger=always after=x,y")
    runs.open("z cpus=2", team=1)
    decided = runs.text(abandon(runs.fleet, "main-1", 5))
    assert "main-1: kill x.1 cancelled by force" in decided, decided
    assert not any("start" in told for told in decided)
    assert runs.dies("main-1", "x")[-2:] == ["main-2: start z.1", "main-1: finish cancelled"]


class TestMix:
    """What the runs that are open ask for is what places are chosen by."""

    @pytest.fixture
    def runs(self):
        runs, pool = Runs(), Pool((host(cpus=64, gpus=(100, 100)),))
        runs.fleet.scheduler.pool, self.told, expect = pool, [], pool.expect
        pool.expect = lambda typical: (self.told.append(dict(typical)), expect(typical))
        return runs

    SMALL, LARGE = Resources(gpus=1, gpu_memory_mb=10), Resources(gpus=1)

    def test_counts_the_runs_that_are_open(self, runs):
        runs.open("x gpus=1 gpu_memory=10\ny")
        runs.open("x gpus=1")
        assert runs.fleet.mix == {self.SMALL: 1, self.LARGE: 1}
        runs.done("main-1", "x")
        assert runs.fleet.mix == {self.SMALL: 1, self.LARGE: 1}
        assert "main-1: finish succeeded" in runs.done("main-1", "y")
        assert self.told == [{self.SMALL: 1}, {self.SMALL: 1, self.LARGE: 1}, {self.LARGE: 1}]

    def test_small_changes_and_runs_without_gpus_are_not_worth_a_word(self, runs):
        runs.open("\n".join(f"x[{i}] gpus=1 gpu_memory=10" for i in range(20)))
        runs.open("x gpus=1 gpu_memory=10")
        runs.open("x")
        assert len(self.told) == 1
        assert runs.fleet.mix == {self.SMALL: 21}


class TestPaused:
    def test_nothing_starts(self):
        runs = Runs()
        runs.open("x\nz < x")
        runs.fleet.paused.add("ending")
        assert runs.open("y", team=1) == []
        assert runs.done("main-1", "x") == []
        runs.fleet.paused.clear()
        assert runs.text(look(runs.fleet, 5)) == ["main-1: start z.1", "main-2: start y.1"]

    def test_what_runs_may_be_asked_to_end_once(self):
        runs = Runs()
        runs.open("x")
        runs.fleet.paused.add("ending")
        assert runs.text(evict(runs.fleet, 10)) == ["main-1: kill x.1 preempted"]
        assert evict(runs.fleet, 20) == []
        assert runs.dies("main-1", "x") == ["main-1: retry x at 0 (preempted)"]
        assert runs.task("main-1", "x").state == "ready"
        assert runs.task("main-1", "x").retried == {"preempted": 1}


class TestPreemption:
    def test_the_first_tier_takes_from_others(self):
        runs = Runs()
        runs.open("x\ny")
        assert runs.open("z", team=1, tier=1) == ["main-1: kill x.1 preempted"]
        kill = runs.task("main-1", "x").kill
        assert (kill.by, kill.grace_ms) == ("main-2/z", 7000)
        assert runs.dies("main-1", "x") == ["main-1: retry x at 0 (preempted)", "main-2: start z.1"]
        assert runs.task("main-1", "x").retried == {"preempted": 1}
        assert runs.done("main-2", "z") == ["main-1: start x.2", "main-2: finish succeeded"]

    def test_each_of_several_takes_its_own(self):
        runs = Runs()
        runs.open("x\ny")
        killed = runs.open("z\nw\nv", team=1, tier=1)
        assert sorted(killed) == ["main-1: kill x.1 preempted", "main-1: kill y.1 preempted"]
        assert runs.text(look(runs.fleet, 10)) == []

    def test_a_place_that_was_taken_is_not_given_to_others(self):
        """One of two places is free again, and of no use to the one that both were taken for."""
        runs = Runs()
        runs.open("x\ny")
        runs.open("wide cpus=2", team=1, tier=1)
        assert {runs.task("main-1", node).kill.by for node in "xy"} == {"main-2/wide"}
        assert runs.dies("main-1", "x") == ["main-1: retry x at 0 (preempted)"]
        assert "main-2: start wide.1" in runs.dies("main-1", "y")

    def test_nobody_takes_from_the_first_tier_nor_from_who_was_taken_from_often(self):
        runs = Runs(times=1)
        runs.open("x\ny", tier=1)
        assert runs.open("z", team=1, tier=1) == []
        runs = Runs(times=0)
        runs.open("x\ny")
        assert runs.open("z", team=1, tier=1) == []

    def test_not_where_it_is_switched_off(self):
        runs = Runs(enabled=False)
        runs.open("x\ny")
        assert runs.open("z", team=1, tier=1) == []

    def test_who_starves_takes_from_who_is_above_its_share(self):
        runs = Runs()
        runs.open("x\ny")
        assert runs.open("z", team=1) == []
        assert look(runs.fleet, 599_000) == []
        assert runs.text(look(runs.fleet, 601_000)) == ["main-1: kill x.1 preempted"]

    def test_an_operator_that_ends_by_itself_at_that_moment_has_ended(self):
        runs = Runs()
        runs.open("x\ny")
        runs.open("z", team=1, tier=1)
        assert runs.done("main-1", "x") == ["main-2: start z.1"]

    @pytest.mark.parametrize("code", ["FR204", "FR205"])
    def test_what_is_wrong_anyhow_is_a_failure(self, code):
        runs = Runs()
        runs.open("x\ny")
        runs.open("z", team=1, tier=1)
        assert "main-1: fail x" in runs.dies("main-1", "x", code)

    def test_one_who_is_cancelled_needs_no_place(self):
        runs = Runs()
        runs.open("x\ny")
        runs.open("z", team=1, tier=1)
        assert runs.happens("main-2", CancelRequested(0)) == ["main-2: cancel z", "main-2: finish cancelled"]
        assert runs.dies("main-1", "x") == ["main-1: retry x at 0 (preempted)", "main-1: start x.2"]
