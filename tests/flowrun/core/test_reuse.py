"""Results of other runs: taken when the same is to be computed of the same, and never else."""

import msgspec
import pytest
from graphs import Run, host, plan

from flowc.plan.model import Code
from flowrun.core.changes import Earlier, Logged, Opened, Point, Reuse
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Origin
from flowrun.core.resume import carry_over
from flowrun.core.reuse import Cache, Hit, content_of
from flowrun.core.state import State


class Known:
    """What runs computed, by content key."""

    def __init__(self):
        self.hits = {}
        self.asked = 0

    def __call__(self, key):
        self.asked += 1
        return self.hits.get(key)

    def learn(self, run, name="old-1"):
        """All that a run computed."""
        for node, key in run.state.contents.items():
            task = run[node]
            if task.state == "succeeded":
                self.hits[key] = Hit(task.artifact, task.origin or Origin(name, node, task.attempt))


@pytest.fixture
def known():
    return Known()


def done(text, known, name="old-1", **settings):
    """A run in which every node that runs gives an artifact of its own, but for those of whom it is said."""
    gives = settings.pop("gives", {})
    run = Run(text, on=host(cpus=8), cache=Cache(known), **settings)
    while run.state.running:
        for node in list(run.state.running):
            run.done(node, gives.get(node, f"{sum(map(ord, node)):064x}"))
    known.learn(run, name)
    return run


CHAIN = "load\nfit < load depth=3\nscore < fit"


def opened(text, known, **settings):
    cache = Cache(known, **{key: settings.pop(key) for key in ("closed", "refresh") if key in settings})
    return Run(text, on=host(cpus=8), cache=cache, **settings).opened


class TestHit:
    def test_a_run_of_the_same_takes_all_from_the_one_before(self, known):
        done(CHAIN, known)
        assert opened(CHAIN, known) == [
            "reuse load of old-1/load",
            "reuse fit of old-1/fit",
            "reuse score of old-1/score",
            "finish succeeded",
        ]

    @pytest.mark.parametrize("verified", [True, False])
    def test_what_was_logged_comes_with_it_before_the_run_ends(self, known, verified):
        done("fit", known)
        (key,) = known.hits
        known.hits[key] = known.hits[key]._replace(verified=verified)
        loss = Point("loss", 0.5, 3, 1)
        logged = {Origin("old-1", "fit"): Logged(1, "fit", 1, (loss,), ("well",))}.get
        run = Run("fit", cache=Cache(known, logged=logged), now=70)
        taken = run.opened if verified else run.verified("fit", True)
        assert taken == ["reuse fit of old-1/fit", "logged well by fit", "finish succeeded"]
        assert run.state.metrics == {"loss": 0.5}
        assert run["fit"].attempt == 0

    def test_it_succeeds_at_once_with_that_artifact_and_without_an_attempt(self, known):
        before = done(CHAIN, known)
        task = Run(CHAIN, cache=Cache(known), now=70)["fit"]
        assert (task.state, task.attempt, task.artifact) == ("succeeded", 0, before["fit"].artifact)
        assert (task.started_ms, task.ended_ms, str(task.origin)) == (70, 70, "old-1/fit")

    def test_what_came_out_the_same_makes_no_difference_to_others(self, known):
        """Early cutoff: what `load` does now is something else, what it gives is not."""
        done(CHAIN, known)
        run = Run(CHAIN.replace("load\n", "load code=new\n", 1), cache=Cache(known))
        assert run.opened == ["start load.1"]
        same = next(hit.artifact.hash for hit in known.hits.values() if hit.origin.node == "load")
        assert run.done("load", same)[:2] == ["reuse fit of old-1/fit", "reuse score of old-1/score"]

    def test_the_name_of_a_node_does_not_count(self, known):
        done("load op=flows:read\nfit < load op=flows:fit", known)
        assert opened("data op=flows:read", known) == ["reuse data of old-1/load", "finish succeeded"]

    def test_the_nodes_of_a_loop(self, known):
        text = "items\nm < items control=map\nsum < m"
        run = Run(text, on=host(cpus=8), cache=Cache(known))
        run.done("items")
        run.knows("m", 3)
        for node in ("m[0]", "m[1]"):
            run.done(node, node.encode().hex())
        known.learn(run)
        again = Run(text, on=host(cpus=8), cache=Cache(known))
        assert again.opened == ["reuse items of old-1/items", "resolve m"]
        assert again.knows("m", 3) == ["reuse m[0] of old-1/m[0]", "reuse m[1] of old-1/m[1]", "start m[2].1"]

    def test_in_a_branch_only_what_is_taken(self, known):
        text = "b condition=true control=branch\nyes when=b\nno unless=b"
        for truth in (True, False):
            run = Run(text, cache=Cache(known))
            run.knows("b", truth)
            run.done("yes" if truth else "no")
            known.learn(run)
        again = Run(text, cache=Cache(known))
        assert again.knows("b", False) == ["skip yes by b", "reuse no of old-1/no", "finish succeeded"]

    def test_a_result_of_a_result_is_of_who_computed_it(self, known):
        done("load", known)
        done("load", known, "newer-2")
        assert opened("load", known)[0] == "reuse load of old-1/load"


class TestMiss:
    @pytest.mark.parametrize(
        "changed",
        [
            "fit < load depth=4",
            "fit < load height=3",
            "fit < load depth=3 code=new",
            "fit < load depth=3 op=a:b",
        ],
    )
    def test_something_else_is_computed(self, known, changed):
        done(CHAIN, known)
        assert opened(f"load\n{changed}", known) == ["reuse load of old-1/load", "start fit.1"]

    def test_other_content_of_an_argument(self, known):
        done(CHAIN, known)
        run = Run(CHAIN.replace("load\n", "load code=new\n", 1), cache=Cache(known))
        assert run.done("load", "e" * 64) == ["start fit.1"]

    def test_another_part_of_an_argument(self, known):
        done('halves\nfit a={"from":"halves","at":["first"]}', known)
        assert opened('halves\nfit a={"from":"halves","at":["second"]}', known)[1:] == ["start fit.1"]

    def test_the_value_of_an_input_counts_as_far_as_it_is_used(self, known):
        text = 'a reads=n\nb y={"input":"options","at":["deep"]}'
        settings = {"inputs": {"n": 1, "options": {"deep": 2, "wide": 3}}}
        done(text, known, **settings)
        other = {"n": 1, "options": {"deep": 2, "wide": 4}}
        assert opened(text, known, inputs=other)[:2] == ["reuse a of old-1/a", "reuse b of old-1/b"]
        other = {"n": 7, "options": {"deep": 2, "wide": 3}}
        assert opened(text, known, inputs=other) == ["reuse b of old-1/b", "start a.1"]

    def test_other_packages(self, known):
        found = plan("a\nb")
        found = msgspec.structs.replace(found, codes=[Code("flows:a", {}, packages=("numpy",))])
        done(found, known, versions={"numpy": "2.4.5"})
        assert opened(found, known, versions={"numpy": "2.4.6"}) == ["reuse b of old-1/b", "start a.1"]

    def test_what_a_handler_does_and_what_is_not_to_be_kept_is_not_even_asked_for(self, known):
        text = "a cache=0\nb < a\nend after=b trigger=always"
        done(text, known)
        known.asked = 0
        run = Run(text, cache=Cache(known))
        assert run.opened == ["start a.1"]
        assert run.done("a", f"{ord('a'):064x}") == ["reuse b of old-1/b", "start end.1"]
        assert known.asked == 1
        assert set(run.state.contents) == {"b"}

    def test_without_a_cache_nothing_is_asked(self):
        run = Run(CHAIN)
        assert run.state.contents == {}
        assert run.opened == ["start load.1"]

    def test_a_closed_one_learns_still(self, known):
        done(CHAIN, known)
        run = Run(CHAIN, cache=Cache(known, closed=True))
        assert run.opened == ["start load.1"]
        assert run.state.contents["load"] in known.hits

    @pytest.mark.parametrize("name", ["load[a]", "load"])
    def test_a_node_or_a_site_is_computed_afresh_and_others_are_not(self, known, name):
        text = "load[a] x=0\nload[b] x=1\nfit < load[a]"
        done(text, known)
        started = [line for line in opened(text, known, refresh=frozenset([name])) if "start" in line]
        assert started == (
            ["start load[a].1"] if name == "load[a]" else ["start load[a].1", "start load[b].1"]
        )

    def test_what_an_argument_does_not_have_is_left_to_fail(self, known):
        run = Run('a y={"input":"options","at":["deep"]}', inputs={"options": 3}, cache=Cache(known))
        assert run.opened == ["start a.1"]
        assert content_of(run.state, run["a"]) is None
        assert known.asked == 0


class TestLarge:
    """What takes a while to verify is verified meanwhile."""

    @pytest.fixture
    def large(self, known):
        done(CHAIN, known)
        known.hits = {key: hit._replace(verified=False) for key, hit in known.hits.items()}
        return Run(f"{CHAIN}\nother code=new", on=host(cpus=1), cache=Cache(known))

    def test_it_is_taken_when_it_turned_out_to_be_sound_and_others_run_meanwhile(self, large):
        assert large.opened == ["verify load of old-1/load", "start other.1"]
        assert large.verified("load", True) == ["reuse load of old-1/load", "verify fit of old-1/fit"]

    def test_or_else_it_waits_for_a_place_as_any_other(self, large):
        assert large.verified("load", False) == []
        assert large["load"].state == "ready"
        assert large.done("other") == ["start load.1"]
        assert large.done("load", f"{sum(map(ord, 'load')):064x}") == ["verify fit of old-1/fit"]

    def test_what_comes_twice_or_is_of_something_else_tells_nothing(self, large):
        assert large.verified("load", True, "f" * 64) == []
        first = large.state.verifying["load"].artifact.hash
        large.verified("load", True)
        assert large.verified("load", True, first) == []
        assert large.verified("other", True, first) == []

    def test_cancelled_meanwhile_it_is_over(self, large):
        hit = large.state.verifying["load"].artifact.hash
        assert "cancel load" in large.cancel()
        assert large.verified("load", True, hit) == []

    def test_what_is_to_be_made_again_meanwhile_is_not_taken(self, known):
        """`load` is damaged, as `other` finds out: what `fit` was to be taken for may be something else."""
        text = "load\nfit < load\nother < load code=new"
        done(text, known)
        hits = {"fit": False}
        known.hits = {
            key: hit._replace(verified=hits.get(hit.origin.node, True)) for key, hit in known.hits.items()
        }
        run = Run(text.replace("new", "newer"), on=host(cpus=1), cache=Cache(known))
        assert run.opened == ["reuse load of old-1/load", "verify fit of old-1/fit", "start other.1"]
        artifact = run.state.verifying["fit"].artifact.hash
        assert run.finds_damage("other", run["load"].artifact.hash)[0] == "redo load, then other"
        assert run.verified("fit", True, artifact) == []
        assert run.done("load", "d" * 64) == ["start fit.1"]


class TestInALog:
    def test_replay_gives_the_state_and_asks_nobody(self, known):
        done("load\nother", known)
        state = State(plan(CHAIN), {}, cache=Cache(known))
        changes = [event := Opened(3, "p", {}, host()), *decide(state, event)]
        assert [type(change) for change in changes[1:2]] == [Reuse]
        known.asked, again = 0, State(plan(CHAIN), {})
        for change in changes:
            again.apply(change)
        assert again.tasks == state.tasks
        assert list(again.scheduler.queue) == list(state.scheduler.queue)
        assert known.asked == 0

    def test_a_resumed_run_keeps_it_and_remembers_whose_it_is(self, known):
        done("load", known)
        before = Run(CHAIN, cache=Cache(known))
        state = State(plan(CHAIN), {})
        earlier = carry_over(before.state, state, lambda artifact: True)
        assert earlier["load"].origin == Origin("old-1", "load", 1)
        again = Run(CHAIN, earlier=earlier)
        assert again.opened == ["start fit.2"]
        assert (again["load"].kept, again["load"].origin.run) == (True, "old-1")

    def test_a_resumed_run_computes_afresh_what_it_is_told_to(self):
        earlier = {"load": Earlier(1, 2, 3, artifact=Artifact("a" * 64, 3))}
        before = Run(CHAIN, earlier=earlier)
        state = State(plan(CHAIN), {})
        kept = carry_over(before.state, state, lambda artifact: True, frozenset(["load"]))
        assert kept["load"] == Earlier(1)
