"""What is damaged is made again, by those who made it, before those who need it go on."""

import msgspec
import pytest
from graphs import Run, host

from flowrun.core.changes import Earlier
from flowrun.core.failures import MAX_LOSSES
from flowrun.core.model import Artifact, Origin
from flowrun.core.reuse import Cache, Hit, content_of

A, B, C = ("a" * 64, "b" * 64, "c" * 64)


def done(text, on=None, **artifacts):
    """A run in which some nodes are done."""
    run = Run(text, on)
    for node, artifact in artifacts.items():
        run.now += 10
        run.done(node, artifact)
    run.now += 10
    return run


def started(commands):
    return [command.removeprefix("start ") for command in commands if command.startswith("start")]


class TestDamage:
    def test_has_who_made_it_run_again_and_then_the_one_that_found_out(self):
        run = done("a\nb < a", a=A)
        commands = run.finds_damage("b", A)
        assert commands[0] == "redo a, then b"
        assert started(commands) == ["a.2"]
        assert run["b"].state == "pending"
        assert run.state.counts.ended_of("a") == 0
        assert started(run.done("a", A)) == ["b.2"]
        run.done("b", B)
        assert run.state.status == "succeeded"

    def test_of_one_of_several_values_is_made_again_alone(self):
        run = done("a\nb\nc < a b", a=A, b=B)
        assert run.finds_damage("c", B)[0] == "redo b, then c"
        assert run["a"].state == "succeeded"

    def test_of_what_several_made_is_made_by_all_of_them(self):
        run = done("a\nb\nc < a b", a=A, b=A)
        assert run.finds_damage("c", A)[0] == "redo a b, then c"

    def test_above_damage_is_found_by_those_that_run_again(self):
        run = done("a\nb < a\nc < b", a=A, b=B)
        run.finds_damage("c", B)
        assert run.finds_damage("b", A)[0] == "redo a, then b"
        assert started(run.done("a", A)) == ["b.3"]
        assert started(run.done("b", B)) == ["c.2"]

    def test_what_was_done_with_it_stays_done(self):
        run = done("a\nb < a\nc < a", host(cpus=1), a=A, b=B)
        assert started(run.finds_damage("c", A)) == ["a.2"]
        assert run["b"].state == "succeeded"

    @pytest.mark.parametrize("how", ["< a", "after=a"])
    def test_what_was_to_start_waits(self, how):
        run = done(f"a\nb < a\nc {how}\nd", host(cpus=1), a=A)
        assert run["c"].state == "ready"
        assert started(run.finds_damage("b", A)) == ["a.2"]
        assert run["c"].state == "pending"
        run.done("a", A)
        run.done("b", B)
        assert run["c"].state == "running"

    def test_found_twice_is_made_again_once(self):
        run = done("a\nb < a\nc < a", a=A)
        run.finds_damage("b", A)
        assert started(run.finds_damage("c", A)) == []
        run.now += 1
        assert started(run.done("a", A)) == ["b.2", "c.2"]
        assert run["a"].attempt == 2

    def test_found_before_it_was_made_again_but_told_after_is_only_read_again(self):
        run = done("a\nb < a\nc < a", a=A)
        run.finds_damage("b", A)
        run.now += 10
        run.done("a", A)
        commands = run.finds_damage("c", A)
        assert commands[0] == f"retry c at {run.now} (damaged)"
        assert started(commands) == ["c.2"]

    def test_made_again_it_may_be_something_else(self):
        run = done("a\nb < a", a=A)
        run.finds_damage("b", A)
        run.done("a", C)
        assert run["a"].artifact == Artifact(C, 10)

    def test_that_comes_back_again_and_again_is_the_disks(self):
        run = done("a\nb < a", a=A)
        for _ in range(MAX_LOSSES):
            assert run.finds_damage("b", A)[0] == "redo a, then b"
            run.now += 10
            run.done("a", A)
            run.now += 10
        assert run.finds_damage("b", A)[0] == "fail b"

    def test_nor_does_it_help_that_others_find_it(self):
        run = done("a\nb < a\nc < a b", a=A)
        for _ in range(MAX_LOSSES):
            run.finds_damage("b", A)
            run.now += 10
            run.done("a", A)
            run.now += 10
        run.done("b", B)
        run.now += 10
        assert run.finds_damage("c", A)[0] == "fail c"

    def test_who_makes_it_may_fail_this_time(self):
        run = done("a\nb < a", a=A)
        run.finds_damage("b", A)
        assert run.fails("a")[:2] == ["fail a", "block b by a"]
        assert run.state.status == "failed"

    def test_of_what_was_kept_from_before(self):
        run = Run("a\nb < a", earlier={"a": Earlier(4, 1, 2, artifact=Artifact(A, 10))}, now=10)
        assert run["a"].kept
        assert started(run.finds_damage("b", A)) == ["a.5"]
        assert not run["a"].kept

    def test_is_not_mended_in_a_run_that_is_cancelled(self):
        run = done("a\nb < a", a=A)
        run.cancel()
        run.finds_damage("b", A)
        assert run.state.status == "cancelled"

    def test_nor_for_a_handler_that_runs_all_the_same(self):
        run = done("a\nb\nz < a after=b trigger=always", a=A)
        run.cancel()
        assert started(run.fails("b", "FR202")) == ["z.1"]
        run.now += 10
        assert run.finds_damage("z", A)[0] == "fail z"

    def test_of_what_nobody_made_is_tried_again_and_given_up(self):
        run = Run("a")
        for _ in range(MAX_LOSSES):
            assert run.finds_damage("a", C)[0] == "retry a at 0 (damaged)"
        assert run.finds_damage("a", C)[0] == "fail a"


class TestWhoMadeIt:
    """It may lack what it needs itself: a run that was resumed kept it, or that is damaged as well."""

    def kept(self):
        earlier = {"b": Earlier(4, 1, 2, artifact=Artifact(B, 10))}
        return Run("a\nb < a\nc < b", earlier=earlier, now=10)

    def test_waits_for_what_it_needs(self):
        run = self.kept()
        commands = run.finds_damage("c", B)
        assert commands[0] == "redo b, then c"
        assert started(commands) == []
        assert started(run.done("a", A)) == ["b.5"]
        assert started(run.done("b", B)) == ["c.2"]

    def test_cannot_run_if_that_fails(self):
        run = self.kept()
        run.finds_damage("c", B)
        assert run.fails("a") == ["fail a", "block b by a", "block c by a", "finish failed"]

    def test_cannot_run_if_that_has_failed(self):
        run = self.kept()
        run.fails("a")
        assert run.finds_damage("c", B) == ["fail c", "finish failed"]
        assert run["b"].state == "succeeded"

    def test_waits_for_what_is_made_again(self):
        run = done("a\nb < a\nc < b\nd < a", a=A, b=B)
        assert started(run.finds_damage("d", A)) == ["a.2"]
        assert started(run.finds_damage("c", B)) == []
        assert started(run.done("a", A)) == ["b.2", "d.2"]

    def test_waits_for_another_one_that_made_the_same(self):
        run = done("b\na < b\nc < a b", b=A, a=A)
        assert run.finds_damage("c", A)[0] == "redo a b, then c"
        assert run["a"].state == "pending"
        assert started(run.done("b", A)) == ["a.2"]


class TestLoops:
    def test_that_cannot_read_their_items_ask_again(self):
        run = done("a\nm control=map < a", a=A)
        assert run.finds_damage("m", A)[0] == "redo a, then m"
        assert run["m"].state == "pending"
        assert "resolve m" in run.done("a", A)
        run.knows("m", 1)
        assert run["m[0]"].state == "running"

    def test_a_node_of_one_that_is_over(self):
        run = done("a\nm control=map < a\nz < m", a=A)
        run.knows("m", 2)
        run.done("m[0]", B)
        run.done("m[1]", C)
        run.now += 10
        assert run.finds_damage("z", B)[0] == "redo m[0], then z"
        assert run["m"].state == "succeeded"
        assert started(run.done("m[0]", B)) == ["z.2"]

    def test_a_node_of_one_that_goes_on(self):
        run = done("a\nr control=reduce < a\nz < r", host(cpus=10), a=A)
        run.knows("r", 3)
        run.done("r[0.0]", B)
        run.now += 10
        assert run.finds_damage("r[1.0]", B)[0] == "redo r[0.0], then r[1.0]"
        run.done("r[0.0]", B)
        run.done("r[1.0]", C)
        assert run["r"].state == "succeeded"

    def over(self, text):
        """A run in which a loop is over, and has two nodes."""
        run = done(f"a\nm control=map < a\n{text}", host(cpus=2), a=A)
        run.knows("m", 2)
        run.done("m[0]", B)
        run.done("m[1]", C)
        run.now += 10
        return run

    def test_what_was_to_start_with_what_one_made_waits(self):
        run = self.over("x < m\ny\nz < m")
        assert run.states()["ready"] == "z"
        assert run.finds_damage("x", B) == ["redo m[0], then x", "start m[0].2"]
        assert run.states() == {"succeeded": "a m m[1]", "running": "y m[0]", "pending": "x z"}
        assert run.done("m[0]", B) == ["start x.2"]
        assert run.done("x") == ["start z.1"]

    def test_so_does_what_comes_to_be_next(self):
        run = self.over("x < m\ny\nz < m y\nbig control=branch < m y")
        run.finds_damage("x", B)
        assert run.done("y") == []
        assert run.done("m[0]", B) == ["resolve big", "start x.2", "start z.1"]

    def test_what_takes_another_part_starts(self):
        run = self.over("x < m\ny\nz < m")
        part = msgspec.structs.replace(run["z"].node, args={"a0": {"from": "m", "at": [1]}})
        run["z"].node = part
        run.finds_damage("x", B)
        assert run.states()["running"] == "y m[0]"
        assert run.states()["ready"] == "z"

    def test_all_that_is_made_again_is_waited_for(self):
        run = self.over("x < m\ny < m")
        run.finds_damage("x", B)
        assert run.finds_damage("y", C) == ["redo m[1], then y", "start m[1].2"]
        assert run.done("m[1]", C) == []
        assert run.done("m[0]", B) == ["start x.2", "start y.2"]

    def test_what_chose_that_waits_as_well(self):
        run = self.over("big control=branch\nv control=choose < big m a\nx < m\nz < v")
        run.knows("big", True)
        assert run.states()["running"] == "x z"
        run.finds_damage("x", B)
        assert run.finds_damage("z", C) == ["redo m[1], then z", "start m[1].2"]
        assert run.done("m[1]", C) == []
        assert run.done("m[0]", B) == ["start x.2", "start z.2"]

    def test_a_choice_does_not_wait_for_what_it_chooses(self):
        run = self.over("x < m\nbig control=branch\nv control=choose < big m a\nz < v\nw after=v")
        run.finds_damage("x", B)
        assert run.knows("big", True) == ["start w.1"]
        assert run["z"].state == "pending"

    def test_what_is_looked_at_is_not_taken_meanwhile(self):
        known = {}
        run = Run("m control=map item=[1]\nx < m\ny\nz < m after=y", cache=Cache(known.get))
        run.knows("m", 1)
        run.done("m[0]", B)
        run.now += 10
        known[content_of(run.state, run["z"]).key] = Hit(Artifact(C, 10), Origin("before", "z"), False)
        assert run.done("y") == ["verify z of before/z"]
        run.finds_damage("x", B)
        assert run.verified("z", sound=True) == []
        assert run.done("m[0]", B) == ["verify z of before/z", "start x.2"]

    @pytest.mark.parametrize("text", ["z < m y", "z < m after=y"])
    @pytest.mark.parametrize("late", [True, False])
    def test_what_takes_what_could_not_be_made_again_does_not_start(self, text, late):
        run = self.over(f"x < m\ny\n{text}")
        run.finds_damage("x", B)
        if late:
            assert run.fails("m[0]") == ["fail m[0]", "block x by m[0]"]
            assert run.done("y") == ["block z by m[0]", "finish failed"]
        else:
            run.done("y")
            assert run.fails("m[0]") == ["fail m[0]", "block x by m[0]", "block z by m[0]", "finish failed"]

    def test_nor_does_a_handler(self):
        run = self.over("x < m\ny\nz < m after=y trigger=always\nw after=y trigger=always")
        run.finds_damage("x", B)
        assert run.done("y") == ["start w.1"]
        assert run.fails("m[0]") == ["fail m[0]", "block x by m[0]", "skip z by m[0]"]

    @pytest.mark.parametrize("ends_first", [True, False])
    def test_what_they_wait_for_no_more_does_not_end_them(self, ends_first):
        """`a` runs again while `m` is asked how many items it has."""
        run = done("a\nm control=map < a\nb < a\nz < m", host(cpus=10), a=A)
        run.finds_damage("b", A)
        if ends_first:
            run.done("a", A)
        run.knows("m", 2)
        if not ends_first:
            assert run["m[0]"].state == "pending"
            run.done("a", A)
        assert run["m"].state == "running"
        run.done("m[0]", B)
        assert run["m"].state == "running"
        run.done("m[1]", C)
        assert run["m"].state == "succeeded"


def test_a_pause_between_attempts_is_kept():
    run = done("a\nb < a retries=1 backoff=500\nc < a", host(cpus=10), a=A)
    run.fails("b")
    run.finds_damage("c", A)
    run.now += 10
    assert started(run.done("a", A)) == ["c.2"]
    assert run["b"].state == "pending"
    assert started(run.wake(run["b"].ready_at_ms)) == ["b.2"]


def test_a_pause_that_is_over_before():
    run = done("a\nb < a retries=1 backoff=500\nc < a", host(cpus=10), a=A)
    run.fails("b")
    run.finds_damage("c", A)
    assert started(run.wake(run["b"].ready_at_ms)) == []
    assert started(run.done("a", A)) == ["b.2", "c.2"]


class TestResumed:
    """`b` is kept, and `a`, from which it was made, is not: its artifact is gone."""

    @pytest.fixture
    def run(self):
        earlier = {"a": Earlier(1), "b": Earlier(1, artifact=Artifact(B, 1))}
        run = Run("a\nb < a\nc < b", on=host(cpus=4), earlier=earlier)
        assert run.opened == ["start a.2", "start c.1"]
        return run

    def test_what_is_made_again_waits_for_what_it_is_made_from(self, run):
        assert run.finds_damage("c", B) == ["redo b, then c"]
        assert run.states() == {"running": "a", "pending": "b c"}
        assert run.done("a") == ["start b.2"]
        assert run.done("b", B) == ["start c.2"]


def test_what_is_tried_again_waits_for_the_end_of_what_is_made_again():
    run = done("a\nb after=a retries=1 backoff=0\nc < a", host(cpus=4), a=A)
    run.finds_damage("c", A)
    assert started(run.fails("b")) == []
    assert started(run.done("a", A)) == ["b.2", "c.2"]


def test_what_is_tried_again_does_not_start_after_what_could_not_be_made_again():
    run = done("a\nb after=a retries=1 backoff=0\nc < a", host(cpus=4), a=A)
    run.finds_damage("c", A)
    run.fails("a")
    assert run.fails("b")[-2:] == ["block b by a", "finish failed"]


def test_what_is_tried_again_does_not_start_without_what_could_not_be_made_again():
    run = Run("a\nb < a retries=1 backoff=0\nc < a", on=host(cpus=4))
    run.done("a", A)
    assert run.finds_damage("c", A)[0] == "redo a, then c"
    assert run.fails("a") == ["fail a", "block c by a"]
    assert run.fails("b")[-2:] == ["block b by a", "finish failed"]
