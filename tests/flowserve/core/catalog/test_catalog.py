"""What operations make of a catalog, whatever fails: the version before stays, aliases name what serves."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.catalog import Catalog, Entry
from flowserve.core.catalog.changes import changes, rollout_changes, rollouts_ended
from flowserve.core.catalog.operations import Load, Point, Refresh, Unload, propose
from flowserve.core.catalog.rolling import EndRollout, RollOut, Step
from flowserve.core.catalog.settling import settle
from flowserve.core.models.key import Key
from flowserve.core.rollout.plan import Plan, checked


def after(catalog, *operations, failing=()):
    """The catalog after operations, in which loading what is `failing` fails: (name, version, stamp)."""
    for operation in operations:
        proposal = propose(catalog, operation)
        bad = {key: "broken" for key in proposal.load if (key.name, key.version, key.stamp) in failing}
        catalog = settle(proposal, bad).catalog
    return catalog


def found(**models):
    """A look: `iris={1: "a"}`."""
    return Refresh(models)


TWO = after(Catalog(), found(iris={1: "a", 2: "b"}), Point("iris", "production", 1))


def serving(catalog):
    return [(key.name, key.version, key.stamp) for key in catalog.serving()]


def test_what_is_found_is_loaded_and_serves():
    proposal = propose(Catalog(), found(iris={1: "a", 2: "b"}))
    assert proposal.load == (Key("iris", 1, "a"), Key("iris", 2, "b"))
    assert proposal.catalog.models["iris"].versions[1] == Entry("loading", "a")
    catalog = settle(proposal, {}).catalog
    assert serving(catalog) == [("iris", 1, "a"), ("iris", 2, "b")]
    assert catalog.generation == 1


def test_what_fails_takes_no_traffic_and_spares_the_rest():
    catalog = after(Catalog(), found(iris={1: "a", 2: "b"}), failing=[("iris", 2, "b")])
    assert serving(catalog) == [("iris", 1, "a")]
    assert catalog.models["iris"].versions[2] == Entry("failed", "b", "", "broken")


def test_replaced_bytes_that_fail_leave_the_old_ones():
    catalog = after(TWO, found(iris={1: "a", 2: "new"}), failing=[("iris", 2, "new")])
    assert serving(catalog) == serving(TWO)
    assert catalog.models["iris"].versions[2] == Entry("ready", "new", "b", "broken")
    assert catalog.generation == TWO.generation
    assert propose(catalog, found(iris={1: "a", 2: "new"})).load == ()  # not again and again
    assert serving(after(catalog, Load("iris", 2))) == [("iris", 1, "a"), ("iris", 2, "new")]


def test_an_alias_moves_only_to_what_loads():
    catalog = after(TWO, Unload("iris", 2))
    failed = after(catalog, Point("iris", "production", 2), failing=[("iris", 2, "b")])
    assert failed.aliases() == {"iris": {"production": 1}}
    assert failed.models["iris"].versions[2].reason == "broken"
    moved = after(failed, Point("iris", "production", 2))
    assert moved.aliases() == {"iris": {"production": 2}}
    assert moved.generation == failed.generation + 1


def test_aliases_of_the_repository_are_taken_over_when_they_can_be():
    both = Refresh({"iris": {1: "a", 2: "b", 3: "c"}}, {"iris": {"production": 3, "next": 9}})
    assert after(TWO, both).aliases() == {"iris": {"production": 3}}
    assert after(TWO, both, failing=[("iris", 3, "c")]).aliases() == {"iris": {"production": 1}}


def test_an_alias_of_what_fails_at_the_start_names_nothing_else():
    look = Refresh({"iris": {1: "a", 2: "b"}}, {"iris": {"production": 2, "stable": 1}})
    bad = after(Catalog(), look, failing=[("iris", 2, "b")])
    assert bad.aliases() == {"iris": {"production": 2, "stable": 1}}
    assert bad.failed() == {"iris": {2: "broken"}}
    with pytest.raises(Refused, match=r"FS280.*`iris@production` names version 2, which does not serve"):
        propose(bad, RollOut("iris", "production", 1, PLAN))
    assert after(bad, Point("iris", "production", 1)).aliases()["iris"]["production"] == 1
    mended = after(bad, Load("iris", 2))
    assert (mended.failed(), mended.aliases()) == ({}, bad.aliases())
    assert mended.generation == bad.generation + 1
    gone = settle(propose(bad, found(iris={1: "a"})), {})
    assert gone.catalog.aliases() == {"iris": {"stable": 1}}
    assert "`iris@production` names nothing, before 2" in changes(bad, gone)


def test_what_is_gone_leaves_unless_an_alias_names_it():
    catalog = after(TWO, found(iris={}))
    assert serving(catalog) == [("iris", 1, "a")]
    assert catalog.models["iris"].versions[1] == Entry("ready", "", "a", "its files are gone")
    assert after(catalog, Point("iris", "production", 0), found(iris={})).models == {}


def test_unloaded_versions_stay_known_and_are_not_loaded_by_a_look():
    catalog = after(TWO, Unload("iris", 2), found(iris={1: "a", 2: "other"}))
    assert serving(catalog) == [("iris", 1, "a")]
    assert catalog.models["iris"].versions[2] == Entry("known", "other")
    everything = after(TWO, Unload("iris"))
    assert serving(everything) == []
    assert serving(after(everything, Load("iris"))) == serving(TWO)


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (Load("irsi"), "there is no model `irsi`; the repository has `iris`"),
        (Load("iris", 9), "model `iris` has no version 9; it has `1`, `2`"),
        (Unload("iris", 1), "the alias `production` names it"),
        (Point("iris", "7", 1), "an alias must be of letters"),
        (Point("iris", "canary", 0), "model `iris` has no alias `canary`; it has `production`"),
        (Point("iris", "canary", 5), "model `iris` has no version 5"),
    ],
)
def test_refused(operation, message):
    with pytest.raises(Refused) as caught:
        propose(TWO, operation)
    assert message in str(caught.value)
    assert caught.value.diagnostics[0].code == "FS107"


NAMES = st.sampled_from(["iris", "churn"])
NUMBERS = st.integers(1, 3)
ALIASES = st.sampled_from(["production", "default"])
LOOKS = st.builds(
    Refresh,
    st.dictionaries(NAMES, st.dictionaries(NUMBERS, st.sampled_from("abc")), max_size=2),
    st.dictionaries(NAMES, st.dictionaries(ALIASES, NUMBERS), max_size=2),
)
OPERATIONS = st.one_of(
    LOOKS,
    st.builds(Load, NAMES, st.integers(0, 3)),
    st.builds(Unload, NAMES, st.integers(0, 3)),
    st.builds(Point, NAMES, ALIASES, st.integers(0, 3)),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.tuples(OPERATIONS, st.sets(st.integers(0, 5))), max_size=12))
def test_whatever_happens(steps):
    catalog = Catalog()
    loaded = set()
    for operation, failures in steps:
        try:
            proposal = propose(catalog, operation)
        except Refused:
            continue
        failed = {key: "broken" for index, key in enumerate(proposal.load) if index in failures}
        loaded |= set(proposal.load) - set(failed)
        before, settled = catalog, settle(proposal, failed)
        catalog = settled.catalog
        keys = set(catalog.serving())
        assert keys <= loaded, "only what was loaded and checked serves"
        assert not keys & set(failed)
        for name, aliases in catalog.aliases().items():
            for alias, number in aliases.items():
                entry = catalog.models[name].versions[number]
                assert entry.serving or entry.state == "failed", f"{name}@{alias} names what serves, or tells"
                if not entry.serving and (was := before.aliases().get(name, {}).get(alias)) is not None:
                    assert not catalog.models[name].versions.get(was, entry).serving, "what serves keeps it"
        for named in catalog.models.values():
            for entry in named.versions.values():
                assert entry.state in ("known", "ready", "failed"), "nothing is left half done"
                assert (entry.state == "ready") == bool(entry.serving)
                assert entry.stamp or entry.serving
        for key in failed:  # what served under that name and number still does
            old = before.models[key.name].versions.get(key.version) if key.name in before.models else None
            if old and old.serving:
                assert catalog.models[key.name].versions[key.version].serving == old.serving
        changed = (before.serving(), before.aliases()) != (catalog.serving(), catalog.aliases())
        assert catalog.generation == before.generation + (changed or before.failed() != catalog.failed())
        if not settled.done:
            assert not changed, "all or nothing"


# Rollouts


PLAN = checked(Plan(steps=(5.0, 50.0)))


def begun(catalog=TWO, *operations):
    return after(catalog, RollOut("iris", "production", 2, PLAN), *operations)


def test_a_rollout_goes_its_steps_and_ends_with_the_alias():
    catalog = begun()
    rollout = catalog.models["iris"].rollouts["production"]
    assert (rollout.stable, rollout.candidate, rollout.share) == (1, 2, 5.0)
    assert rollout.stamps == ("a", "b")
    assert rollout.serial == catalog.generation == TWO.generation + 1
    stepped = after(catalog, Step("iris", "production", rollout.serial, "it is good"))
    now = stepped.models["iris"].rollouts["production"]
    assert (now.share, now.last, now.serial) == (50.0, True, stepped.generation)
    promoted = after(stepped, EndRollout("iris", "production", True, now.serial, "it is good"))
    assert promoted.aliases() == {"iris": {"production": 2}}
    assert promoted.rollouts() == {}
    aborted = after(stepped, EndRollout("iris", "production", False, 0, "by hand"))
    assert aborted.aliases() == {"iris": {"production": 1}}
    assert aborted.generation == stepped.generation + 1


def test_a_rollout_loads_its_candidate_or_does_not_begin():
    unloaded = after(TWO, Unload("iris", 2))
    operation = RollOut("iris", "production", 2, PLAN)
    assert propose(unloaded, operation).load == (Key("iris", 2, "b"),)
    failed = settle(propose(unloaded, operation), {Key("iris", 2, "b"): "broken"})
    assert not failed.done
    assert failed.catalog.rollouts() == {}


@pytest.mark.parametrize(
    "operation",
    [
        Point("iris", "production", 2),
        Point("iris", "production", 0),
        Unload("iris", 1),
        Unload("iris", 2),
        Unload("iris"),
        RollOut("iris", "production", 2, PLAN),
    ],
)
def test_what_a_rollout_does_not_bear(operation):
    with pytest.raises(Refused, match="FS281"):
        propose(begun(), operation)


def test_what_is_none_of_its_business_goes_on_beside_it():
    catalog = after(begun(), Point("iris", "test", 2), Load("iris"), found(other={1: "x"}))
    assert catalog.rollouts() == begun().rollouts()


@pytest.mark.parametrize(
    ("operation", "said"),
    [
        (Step("iris", "production", 99, ""), "at another step"),
        (EndRollout("iris", "production", True, 99, ""), "at another step"),
        (EndRollout("iris", "test", True, 0, ""), "no rollout of `iris@test`"),
    ],
)
def test_a_verdict_on_a_step_that_is_over_is_none(operation, said):
    with pytest.raises(Refused, match=f"FS282.*{said}"):
        propose(begun(), operation)


@pytest.mark.parametrize(
    ("look", "said"),
    [
        (found(iris={1: "a"}), "version 2 serves no longer"),
        (found(iris={1: "a", 2: "new"}), "version 2 has other files now"),
        (Refresh({"iris": {1: "a", 2: "b"}}, {"iris": {"production": 2}}), "the alias names version 2 now"),
        (Refresh({"iris": {1: "a", 2: "b"}}, {"iris": {}}), "the alias is gone"),
        (found(iris={}), "version 1 serves no longer|the model is gone|version 2 serves no longer"),
    ],
)
def test_what_ends_a_rollout(look, said):
    before = begun()
    settled = settle(propose(before, look), {})
    assert settled.catalog.rollouts() == {}
    (ended,) = rollouts_ended(before, settled)
    assert re.search(said, ended.reason)
    assert any("has ended: rolled back, since" in line for line in changes(before, settled))


def test_a_server_that_starts_goes_on_with_what_it_finds():
    left = begun(TWO, Step("iris", "production", TWO.generation + 1, "")).rollouts()
    look = Refresh({"iris": {1: "a", 2: "b"}}, {"iris": {"production": 1}}, left)
    settled = settle(propose(Catalog(), look), {})
    rollout = settled.catalog.models["iris"].rollouts["production"]
    assert (rollout.step, rollout.serial) == (1, settled.catalog.generation)
    assert [line for line in rollout_changes(Catalog(), settled) if "50 %" in line]
    other = Refresh({"iris": {1: "a", 2: "other"}}, {"iris": {"production": 1}}, left)
    settled = settle(propose(Catalog(), other), {})
    assert settled.catalog.rollouts() == {}
    assert rollout_changes(Catalog(), settled) == [
        "a rollout of `iris@production` that was under way does not go on: version 2 has other files now"
    ]


@pytest.mark.parametrize("operation", [Load("iris", 1), Point("iris", "canary", 1)])
def test_what_is_named_must_load_although_it_serves(operation):
    """Of a lazy tier nobody may have loaded it."""
    catalog = settle(propose(Catalog(), found(iris={1: "a"})), {}).catalog
    proposal = propose(catalog, operation)
    assert (proposal.load, proposal.prove) == ((), (Key("iris", 1, "a"),))
    settled = settle(proposal, {Key("iris", 1, "a"): "it is no model"})
    assert not settled.done
    assert settled.catalog.generation == catalog.generation
    assert settled.catalog.aliases() == {}
    assert propose(catalog, Load("iris")).prove == ()  # all of a model: as its tier has it
