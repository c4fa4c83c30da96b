"""What goes when memory is short, and what never does."""

from hypothesis import given
from hypothesis import strategies as st

from flowserve.core.models.key import Key
from flowserve.core.models.tiers import Budget, Resident, make_room

NOW_S = 1000.0


def resident(name, tier, size, used_s=0.0):
    return Resident(Key(name, 1), tier, size, used_s)


def gone(residents, wanted, limit, grace_s=300.0):
    return "".join(r.key.name for r in make_room(residents, wanted, Budget(limit, grace_s), NOW_S).evict)


def test_nothing_goes_while_there_is_room():
    assert gone([resident("a", 4, 50)], 50, 100) == ""
    assert gone([resident("a", 4, 50)], 999, 0) == ""  # no budget at all


def test_the_highest_tier_goes_first_and_in_it_what_was_used_the_longest_ago():
    residents = [
        resident("a", 2, 10, 1),
        resident("b", 3, 10, 2),
        resident("c", 4, 10, 5),
        resident("d", 4, 10, 4),
    ]
    assert gone(residents, 10, 40) == "d"
    assert gone(residents, 30, 40) == "dcb"
    assert gone(residents, 40, 40) == "dcba"


def test_what_was_just_used_is_spared_as_long_as_that_is_enough():
    residents = [resident("a", 2, 10, 1), resident("b", 4, 10, 900)]
    assert gone(residents, 10, 20) == "a"
    assert gone(residents, 20, 20) == "ab"


def test_tier_1_never_goes():
    room = make_room([resident("a", 1, 80), resident("b", 3, 10)], 50, Budget(100), NOW_S)
    assert [r.key.name for r in room.evict] == ["b"]
    assert room.lacking == 30


def test_a_small_one_stays_when_a_large_one_has_to_go_anyhow():
    assert gone([resident("s", 4, 1, 1), resident("l", 4, 60, 2)], 50, 100) == "l"


def test_what_a_pipeline_runs_goes_after_it_and_is_as_dear():
    held = [
        resident("m", 4, 10, 1),
        Resident(Key("p", 1), 2, 0, 5, (Key("m", 1),)),
        resident("a", 3, 10, 2),
        resident("b", 2, 10, 4),
    ]
    assert gone(held, 10, 30) == "a"
    assert gone(held, 20, 30) == "ab"
    assert gone(held, 30, 30) == "abpm"
    pinned = [resident("m", 4, 10), Resident(Key("p", 1), 1, 0, 0, (Key("m", 1),))]
    assert make_room(pinned, 10, Budget(10), NOW_S).lacking == 10


def test_what_a_pipeline_of_a_pipeline_runs_goes_last():
    held = [
        Resident(Key("q", 1), 3, 0, 2, (Key("p", 1),)),
        Resident(Key("p", 1), 4, 0, 1, (Key("m", 1),)),
        resident("m", 4, 10, 1),
    ]
    assert gone(held, 10, 10) == "qpm"


RESIDENTS = st.lists(
    st.builds(
        Resident,
        st.builds(Key, st.text("abc", min_size=1, max_size=3), st.integers(1, 3)),
        st.integers(1, 4),
        st.integers(0, 100),
        st.floats(0, 1000),
    ),
    max_size=12,
    unique_by=lambda r: r.key,
)


@given(RESIDENTS, st.integers(0, 200), st.integers(0, 400), st.floats(0, 1000))
def test_whatever_is_in_memory(residents, wanted, limit, grace_s):
    room = make_room(residents, wanted, Budget(limit, grace_s), NOW_S)
    left = [r for r in residents if r not in room.evict]
    total = sum(r.bytes for r in left) + wanted
    assert all(r.tier > 1 for r in room.evict)
    assert len(set(room.evict)) == len(room.evict)
    if not limit:
        assert not room.evict
        return
    assert room.lacking == max(0, total - limit)
    assert all(total + r.bytes > limit for r in room.evict), "each that goes has to"
    if room.lacking:
        assert all(r.tier == 1 or not r.bytes for r in left), "lacking only when all that may go has gone"
    spared = {r for r in residents if NOW_S - r.used_s < grace_s and r.tier > 1}
    if set(room.evict) & spared and not room.lacking:
        old = [r for r in residents if r not in spared and r.tier > 1]
        assert sum(r.bytes for r in residents) - sum(r.bytes for r in old) + wanted > limit
