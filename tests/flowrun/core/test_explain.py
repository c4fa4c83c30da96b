from graphs import Run, decide, host, plan, say

from flowrun.core.changes import Exited, Opened, Submission
from flowrun.core.explain import Past, explain, unmet
from flowrun.core.fleet import Fleet, part
from flowrun.core.fleet import decide as decide_of
from flowrun.core.model import Artifact
from flowrun.core.pool import Pool
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Sharing, Team, Tiers
from flowrun.core.state import State


class Logged(Run):
    """A run that keeps its log."""

    def _step(self, event):
        decided = decide(self.state, event)
        self.__dict__.setdefault("log", []).extend([event, *decided])
        return [say(command) for command in decided]

    def waits(self, now=None):
        found = explain(Past(State(self.plan, {}), self.log), self.now if now is None else now)
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


class TestBeside:
    """Runs of several teams on one host, told of by their logs."""

    TEAMS = Sharing({"vision": Team(), "speech": Team()}, tiers=Tiers(headroom=0))

    def fleet(self):
        capacity = host(cpus=2)
        order = Fair(Shares(self.TEAMS, {"cpus": 2, "memory_mb": capacity.memory_mb}), 0)
        return order, Fleet(Scheduler(Pool((capacity,)), order))

    def lived(self):
        """`a-1` of vision has the host up to 500, then `b-2` of speech has it."""
        order, fleet = self.fleet()
        logs = {}
        for at, run in ((100, "a-1"), (200, "b-2")):
            fleet.runs[run] = self.state(run, order, fleet)
            logs[run] = []
            self.happens(fleet, logs, run, Opened(at, "p", {}, host(cpus=2)))
        self.happens(fleet, logs, "a-1", Exited(500, "x", 1, Artifact("a" * 64, 1)))
        return logs

    def happens(self, fleet, logs, run, event):
        logs[run].append(event)
        for other, command in decide_of(fleet, run, event):
            logs[other].append(command)

    def state(self, run, order, fleet):
        team, priority = {"a-1": ("vision", 0), "b-2": ("speech", 5)}[run]
        shared = part(order, fleet.scheduler, run, Submission(team, 3, priority))
        return State(plan("x cpus=2\ny cpus=2 < x"), {}, shared=shared)

    def told(self, run, until=900):
        """Of both runs there is what happened before some time; then `a-1` is cut off."""
        new = self.fleet()
        pasts = {}
        for name, changes in self.lived().items():
            known = [change for change in changes if change.at_ms < until]
            pasts[name] = Past(self.state(name, *new), known, until if name == "a-1" else None)
        return [
            (
                wait.node,
                wait.ready_ms,
                wait.started_ms,
                [(spell.since_ms, spell.until_ms, str(spell.waits)) for spell in wait.spells],
            )
            for wait in explain(pasts.pop(run), 900, list(pasts.values()))
        ]

    def test_who_held_it_is_of_another_run(self):
        assert self.told("b-2") == [
            ("x", 200, 500, [(200, 500, "cpus: needs 2, has 0; `a-1/x` of team `vision` holds 2")])
        ]

    def test_and_the_other_way_round(self):
        assert self.told("a-1") == [
            ("x", 100, 100, []),
            ("y", 500, 0, [(500, 900, "cpus: needs 2, has 0; `b-2/x` of team `speech` holds 2")]),
        ]

    def test_what_is_cut_off_holds_nothing_any_more(self):
        """Nothing starts in its place, as the daemon is gone as well."""
        (wait,) = self.told("b-2", until=300)
        assert wait == (
            "x",
            200,
            0,
            [
                (200, 300, "cpus: needs 2, has 0; `a-1/x` of team `vision` holds 2"),
                (300, 900, "others go first"),
            ],
        )
