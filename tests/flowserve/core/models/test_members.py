"""A pipeline serves with members that serve: it moves with them at once, or stays with those that it had."""

from hypothesis import given, settings
from hypothesis import strategies as st

from flowserve.core.models.catalog import Catalog, Load, Point, Refresh, Unload, propose, settle
from flowserve.core.models.key import Key
from flowserve.core.models.members import bound_stamp

FOUND = Refresh(
    {"m": {1: "m1"}, "n": {1: "n1", 2: "n2"}, "p": {1: "p1"}},
    {"n": {"production": 1}},
    needs={"p": {1: ("m", "n@production")}},
)


def made(catalog, *operations, failing=lambda key: False):
    for operation in operations:
        proposal = propose(catalog, operation)
        catalog = settle(proposal, {key: "broken" for key in proposal.load if failing(key)}).catalog
    return catalog


def serving(catalog, name="p"):
    return [key for key in catalog.serving() if key.name == name]


def p_of(*members):
    return [Key("p", 1, bound_stamp("p1", members))]


M1, N1, N2 = Key("m", 1, "m1"), Key("n", 1, "n1"), Key("n", 2, "n2")
START = made(Catalog(), FOUND)


def test_a_pipeline_is_bound_to_what_its_names_mean():
    assert serving(START) == p_of(M1, N1)
    assert propose(START, FOUND).load == ()


def test_it_moves_with_an_alias_and_with_a_newer_version():
    proposal = propose(START, Point("n", "production", 2))
    assert [key.name for key in proposal.load] == ["p"]
    assert serving(settle(proposal, {}).catalog) == p_of(M1, N2)
    newer = Refresh({"m": {1: "m1", 2: "m2"}})
    assert serving(made(START, newer)) == p_of(Key("m", 2, "m2"), N1)
    assert serving(made(START, Refresh({"n": {1: "n1", 2: "n2", 3: "n3"}}))) == serving(START)


def test_an_operation_that_it_does_not_bear_is_not_done():
    for operation in (Point("n", "production", 2), Unload("m")):
        proposal = propose(START, operation)
        settled = settle(proposal, dict.fromkeys(proposal.load, "it does not fit"))
        assert not settled.done
        assert settled.catalog.serving() == START.serving()
        assert settled.catalog.aliases() == START.aliases()


def test_it_stays_with_its_members_when_new_ones_fail_and_comes_back_with_them():
    newer = Refresh({"m": {1: "m1", 2: "m2"}})
    failed = made(START, newer, failing=lambda key: key.name == "p" or key.version == 2)
    assert serving(failed) == serving(START)
    assert failed.models["p"].versions[1].reason == "broken"
    told = made(failed, Refresh({"other": {1: "o"}}))
    assert serving(told) == serving(START)
    assert told.models["p"].versions[1].reason == "", "it serves what there is"
    assert serving(made(told, Load("m", 2))) == p_of(Key("m", 2, "m2"), N1)


def test_one_that_came_before_its_members_is_tried_again_when_they_come():
    early = made(Catalog(), Refresh({"p": {1: "p1"}}, needs={"p": {1: ("m",)}}), failing=lambda key: True)
    assert early.models["p"].versions[1].state == "failed"
    assert propose(early, Refresh({"other": {1: "o"}})).load == (Key("other", 1, "o"),)
    late = made(early, Refresh({"m": {1: "m1"}}))
    assert serving(late) == p_of(M1)


def test_pipelines_of_pipelines_move_together_and_circles_do_not_hang():
    nested = made(START, Refresh({"q": {1: "q1"}}, needs={"q": {1: ("p",)}}))
    moved = made(nested, Point("n", "production", 2))
    (p,) = serving(moved)
    assert serving(moved, "q") == [Key("q", 1, bound_stamp("q1", [p]))]
    circle = Refresh({"p": {1: "p1", 2: "p2"}}, needs={"p": {1: ("m", "n@production"), 2: ("q",)}})
    proposal = propose(nested, circle)
    assert ("p", 2) in [(key.name, key.version) for key in proposal.load]


def test_one_that_is_replaced_is_loaded_with_its_new_needs():
    changed = made(START, Refresh({"p": {1: "new"}}, needs={"p": {1: ("n@2",)}}))
    assert serving(changed) == [Key("p", 1, bound_stamp("new", [N2]))]
    assert made(changed, Unload("p"), Load("p")).serving() == changed.serving()


MEMBERS = st.sampled_from(["m", "m@1", "m@2", "m@a", "n", "p@1"])
OPERATIONS = st.one_of(
    st.builds(
        lambda m, p, needs, alias: Refresh(
            {"m": m, "p": p},
            {"m": {"a": alias}} if alias else {},
            needs={"p": {n: tuple(of) for n, of in needs.items()}},
        ),
        st.dictionaries(st.integers(1, 3), st.sampled_from(["x", "y"])),
        st.dictionaries(st.integers(1, 2), st.sampled_from(["x", "y"])),
        st.fixed_dictionaries({1: st.lists(MEMBERS, min_size=1, max_size=2), 2: st.just(["m"])}),
        st.integers(0, 3),
    ),
    st.builds(Load, st.sampled_from(["m", "p"])),
    st.builds(Unload, st.sampled_from(["m", "p"]), st.integers(0, 2)),
    st.builds(Point, st.just("m"), st.just("a"), st.integers(0, 3)),
)


@settings(max_examples=200)
@given(st.lists(st.tuples(OPERATIONS, st.sets(st.integers(0, 5))), max_size=12))
def test_whatever_happens_what_serves_was_loaded(operations):
    from flowc.plan.diagnostics import Refused

    catalog, loaded = Catalog(), set()
    for operation, failing in operations:
        try:
            proposal = propose(catalog, operation)
        except Refused:
            continue
        # Loading what is bound to what is missing fails, as does what chance says.
        failed = {key: "broken" for at, key in enumerate(proposal.load) if at in failing}
        settled = settle(proposal, failed)
        assert all(key in loaded or key in proposal.load for key in settled.catalog.serving())
        if settled.done:
            loaded |= set(proposal.load) - set(failed)
        assert all(key in loaded for key in settled.catalog.serving())
        catalog = settled.catalog
        again = propose(catalog, Refresh({}))
        assert all("+" in key.stamp for key in again.load), "only pipelines are tried again by themselves"
