"""What goes when memory is short, and what never does."""

from hypothesis import given
from hypothesis import strategies as st

from flowserve.core.memory.tiers import Budget, Resident, ahead_of, fits, make_room, roomiest
from flowserve.core.models.key import Key
from flowserve.core.models.seat import HOST

NOW_S = 1000.0


def amounts(size):
    """Bytes by space; a number is the host's, a pair the host's and a GPU's."""
    return dict(zip((HOST, "gpu:0"), size, strict=False)) if isinstance(size, tuple) else {HOST: size}


def resident(name, tier, size, used_s=0.0):
    return Resident(Key(name, 1), tier, amounts(size), used_s)


def budget(limit, grace_s=300.0):
    return Budget(amounts(limit), grace_s)


def gone(residents, wanted, limit, grace_s=300.0):
    return "".join(
        r.key.name for r in make_room(residents, amounts(wanted), budget(limit, grace_s), NOW_S).evict
    )


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
    room = make_room([resident("a", 1, 80), resident("b", 3, 10)], {HOST: 50}, budget(100), NOW_S)
    assert [r.key.name for r in room.evict] == ["b"]
    assert room.lacking == {HOST: 30}


def test_a_small_one_stays_when_a_large_one_has_to_go_anyhow():
    assert gone([resident("s", 4, 1, 1), resident("l", 4, 60, 2)], 50, 100) == "l"


def test_what_a_pipeline_runs_goes_after_it_and_is_as_dear():
    held = [
        resident("m", 4, 10, 1),
        Resident(Key("p", 1), 2, {HOST: 0}, 5, (Key("m", 1),)),
        resident("a", 3, 10, 2),
        resident("b", 2, 10, 4),
    ]
    assert gone(held, 10, 30) == "a"
    assert gone(held, 20, 30) == "ab"
    assert gone(held, 30, 30) == "abpm"
    pinned = [resident("m", 4, 10), Resident(Key("p", 1), 1, {HOST: 0}, 0, (Key("m", 1),))]
    assert make_room(pinned, {HOST: 10}, budget(10), NOW_S).lacking == {HOST: 10}


def test_what_a_pipeline_of_a_pipeline_runs_goes_last():
    held = [
        Resident(Key("q", 1), 3, {HOST: 0}, 2, (Key("p", 1),)),
        Resident(Key("p", 1), 4, {HOST: 0}, 1, (Key("m", 1),)),
        resident("m", 4, 10, 1),
    ]
    assert gone(held, 10, 10) == "qpm"


def test_what_is_elsewhere_stays_and_what_is_in_both_goes_for_either():
    residents = [
        resident("a", 4, 10, 1),
        resident("b", 3, (10, 50), 2),
        resident("c", 4, (0, 40), 3),
        resident("d", 2, (10, 10), 4),
    ]
    assert gone(residents, (0, 40), (1000, 100)) == "c", "a is the first to go, but not from the GPU"
    assert gone(residents, (0, 41), (1000, 100)) == "b"
    assert gone(residents, (0, 60), (1000, 100)) == "cb"
    assert gone(residents, (20, 0), (30, 100)) == "ab"
    assert gone(residents, (10, 90), (30, 100)) == "cb", "what goes from the GPU makes room on the host"
    assert gone(residents, (0, 999), (1000, 0)) == "", "a space without a bound"


def test_it_lacks_what_tier_1_has_in_the_space_that_is_short():
    residents = [resident("a", 1, (10, 60)), resident("b", 3, (10, 30)), resident("c", 4, 10)]
    room = make_room(residents, {"gpu:0": 50}, budget((1000, 100)), NOW_S)
    assert [r.key.name for r in room.evict] == ["b"]
    assert room.lacking == {"gpu:0": 10}


def test_a_model_goes_where_most_is_left():
    spaces = ("gpu:0", "gpu:1", "gpu:2")
    assert roomiest(spaces, {"gpu:0": 5, "gpu:1": 7, "gpu:2": 7}) == "gpu:1"
    assert roomiest(spaces, {"gpu:0": -5, "gpu:1": -7, "gpu:2": -9}) == "gpu:0"
    assert roomiest(spaces, {"gpu:0": 5, "gpu:1": 7}) == "gpu:2", "which has no bound"
    assert roomiest(("gpu:1",), {}) == "gpu:1"
    assert fits({HOST: 5, "gpu:1": 0}, {HOST: 5, "gpu:1": -1})
    assert not fits({HOST: 5, "gpu:1": 1}, {HOST: 5, "gpu:1": 0})


SPACES = (HOST, "gpu:0", "gpu:1")
AMOUNTS = st.dictionaries(st.sampled_from(SPACES), st.integers(0, 100), max_size=2)
RESIDENTS = st.lists(
    st.builds(
        Resident,
        st.builds(Key, st.text("abc", min_size=1, max_size=3), st.integers(1, 3)),
        st.integers(1, 4),
        AMOUNTS,
        st.floats(0, 1000),
    ),
    max_size=12,
    unique_by=lambda r: r.key,
)
LIMITS = st.dictionaries(st.sampled_from(SPACES), st.integers(0, 300))


@given(RESIDENTS, AMOUNTS, LIMITS, st.floats(0, 1000))
def test_whatever_is_in_memory(residents, wanted, limits, grace_s):
    bounded = {space for space in limits if limits[space]}
    room = make_room(residents, wanted, Budget(limits, grace_s), NOW_S)
    keys = {r.key for r in room.evict}
    assert len(keys) == len(room.evict)
    left = [r for r in residents if r.key not in keys]

    def over(kept):
        """By how much each space is too full with these and what is wanted."""
        total = {s: sum(r.bytes.get(s, 0) for r in kept) + wanted.get(s, 0) for s in bounded}
        return {s: total[s] - limits[s] for s in bounded if total[s] > limits[s]}

    assert all(r.tier > 1 for r in room.evict)
    assert room.lacking == over(left)
    for r in room.evict:
        assert over([*left, r]) != over(left), "each that goes has to"
    for space in room.lacking:
        in_it = [r for r in left if r.bytes.get(space)]
        assert all(r.tier == 1 for r in in_it), "lacking only when all that may go has gone"
    spared = [r for r in residents if NOW_S - r.used_s < grace_s and r.tier > 1]
    if keys & {r.key for r in spared} and not room.lacking:
        old = [r for r in residents if r not in spared and r.tier > 1]
        assert over([r for r in residents if r not in old]), "what was used lately goes last"


def test_room_is_made_for_several_small_ones_at_once():
    limits = Budget({HOST: 5120, "gpu:0": 5120})
    assert ahead_of({HOST: 10, "gpu:0": 11}, limits) == {HOST: 160, "gpu:0": 11}
    assert ahead_of({HOST: 10}, Budget()) == {HOST: 10}
