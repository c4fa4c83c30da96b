from graphs import Run, decide, host, plan, say

from flowrun.core.explain import explain, unmet
from flowrun.core.state import State


class Logged(Run):
    """A run that keeps its log."""

    def _step(self, event):
        decided = decide(self.state, event)
        self.__dict__.setdefault("log", []).extend([event, *decided])
        return [say(command) for command in decided]

    def waits(self, now=None):
        found = explain(State(self.plan, {}), self.log, self.now if now is None else now)
        return {wait.node: wait for wait in found}


def test_what_starts_at_once_waited_for_nothing():
    run = Logged("a\nb < a")
    run.now = 70
    run.done("a")
    waits = run.waits()
    assert [(w.ready_ms, w.started_ms, w.spells) for w in waits.values()] == [(0, 0, ()), (70, 70, ())]


def test_spells_tell_who_held_what_was_missing():
    run = Logged("a cpus=2\nb cpus=1\nc cpus=1", host(cpus=2))
    run.now = 500
    run.done("a")
    assert [(s.since_ms, s.until_ms, str(s.waits)) for s in run.waits()["b"].spells] == [
        (0, 500, "cpus: needs 1, has 0; `a` holds 2")
    ]


def test_a_reason_that_changes_is_another_spell():
    run = Logged("a cpus=2\nb cpus=1\nc cpus=2\nd cpus=1 < c", host(cpus=2))
    assert run.opened == ["start c.1"]
    run.now = 300
    run.done("c")
    run.now = 1000
    run.done("a")
    spells = run.waits()["b"].spells
    assert [(s.since_ms, s.until_ms, [h.ref.node for h in s.waits.holders]) for s in spells] == [
        (0, 300, ["c"]),
        (300, 1000, ["a"]),
    ]


def test_what_still_waits_is_told_last():
    run = Logged("a cpus=2\nb cpus=2", host(cpus=2))
    wait = run.waits(now=900)["b"]
    assert (wait.ready_ms, wait.started_ms, wait.attempt) == (0, 0, 1)
    assert [(s.since_ms, s.until_ms) for s in wait.spells] == [(0, 900)]


def test_what_is_unmet():
    run = Run(plan("a\nb\nc < a b"))
    run.done("a")
    assert [task.node.id for task in unmet(run.state, run["c"])] == ["b"]
