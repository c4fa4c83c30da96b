"""Schedules computed ahead: small ones by hand, tiny ones against every order, random ones for the rules."""

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowrun.core.ahead import (
    Impossible,
    Problem,
    affordable,
    crossover,
    dispatch,
    generation,
    genetic,
    improve,
    justification,
    lower_bound,
    plan,
    plan_ahead,
    search,
    valid,
    violation,
)
from flowrun.core.ahead.generation import serial
from flowrun.core.ahead.packed import Packed
from flowrun.core.ahead.rules import by_rule

# On two machines: 0 (2 long) before 1 (6 long), and 2 and 3 (3 long each) on their own.
FORK = Problem([2, 6, 3, 3], [[1]] * 4, [2], [[1], [], [], []])


def makespan(problem, starts):
    return max((start + length for start, length in zip(starts, problem.durations, strict=True)), default=0)


@st.composite
def problems(draw, most=12):
    """Edges go from any number to any other, along an order that is drawn: numbers are not topological."""
    count = draw(st.integers(0, most))
    resources = draw(st.integers(0, 3))
    capacities = [draw(st.integers(0, 6)) for _ in range(resources)]
    place = draw(st.permutations(range(count)))
    successors = [
        [k for k in range(count) if place[j] < place[k] and draw(st.integers(0, 3)) == 0]
        for j in range(count)
    ]
    return Problem(
        [draw(st.integers(0, 9)) for _ in range(count)],
        [[draw(st.integers(0, capacity)) for capacity in capacities] for _ in range(count)],
        capacities,
        successors,
    )


def shortest(problem):
    """The optimum: one of all orders makes it in the serial scheme."""
    packed = Packed(problem)
    orders = (
        order
        for order in itertools.permutations(range(packed.count))
        if all(i not in packed.forward.after[j] for n, j in enumerate(order) for i in order[:n])
    )
    return min(max(serial(packed, packed.forward, order)) for order in orders) // packed.width


class TestByHand:
    def test_one_after_the_other_where_there_is_room_for_one(self):
        problem = Problem([3, 2, 4], [[1]] * 3, [1], [[], [], []])
        assert dispatch(problem, "latest_start") == [4, 7, 0]  # the longest first

    def test_two_resources_at_once(self):
        # 0 and 1 exclude each other on the first, 1 and 2 on the second; 0 and 2 run together.
        problem = Problem([5, 4, 5], [[2, 0], [1, 1], [0, 3]], [2, 3], [[], [], []])
        starts = search(problem, 10, 0)
        assert makespan(problem, starts) == 9
        assert starts[0] == starts[2]

    def test_what_has_most_behind_it_goes_first(self):
        assert dispatch(FORK) == [0, 2, 0, 3]
        assert lower_bound(FORK) == 8

    def test_forward_backward_improvement_closes_a_gap(self):
        # The chain 0 -> 1 was started late; there is room for it at the start.
        problem = Problem([2, 2, 4], [[1], [1], [1]], [2], [[1], [], []])
        assert makespan(problem, improve(problem, [4, 6, 0])) == 4

    def test_nothing_to_do(self):
        nothing = Problem([], [], [3], [])
        assert (dispatch(nothing), improve(nothing, []), search(nothing, 10, 0)) == ([], [], [])
        assert plan_ahead([], [], [1.5], []).makespan == 0

    def test_without_resources_the_critical_path(self):
        problem = Problem([3, 4, 5], [[], [], []], [], [[1], [], []])
        assert dispatch(problem) == [0, 3, 0]

    def test_no_duration_takes_no_room(self):
        problem = Problem([0, 3, 0], [[2], [2], [2]], [2], [[1], [2], []])
        assert search(problem, 20, 0) == [0, 0, 3]


class TestChecker:
    @pytest.mark.parametrize(
        ("starts", "said"),
        [
            ([0, 1, 0, 3], "activity 1 starts at 1, before activity 0 ends at 2"),
            ([0, 2, 0, 0], "at 0 resource 0 is used 3 times, of 2"),
            ([-1, 2, 0, 3], "activity 0 starts at -1"),
            ([0, 2, 0, 3], None),
        ],
    )
    def test_it_says_what_is_wrong(self, starts, said):
        assert violation(FORK, starts) == said
        assert valid(FORK, starts) == (said is None)


class TestImpossible:
    def test_a_circle(self):
        with pytest.raises(Impossible, match="circle"):
            search(Problem([1, 1], [[1], [1]], [1], [[1], [0]]), 10, 0)

    @pytest.mark.parametrize(
        ("durations", "demands", "capacities"),
        [
            ([1], [[2]], [1]),
            ([1], [[-1]], [1]),
            ([-1], [[1]], [1]),
            ([-0.5], [[1]], [1]),
            ([float("nan")], [[1]], [1]),
            ([float("inf")], [[1]], [1]),
            ([1], [[float("nan")]], [1]),
            ([1], [[1.0005]], [1]),
        ],
    )
    def test_numbers_that_no_schedule_satisfies(self, durations, demands, capacities):
        with pytest.raises(Impossible):
            plan_ahead(durations, demands, capacities, [[]])


class TestEverySchedule:
    @given(problems(), st.integers(0, 60), st.integers(0, 3))
    @settings(max_examples=150, deadline=None)
    def test_is_valid_and_not_shorter_than_the_bound(self, problem, schedules, seed):
        once = dispatch(problem)
        better = improve(problem, once)
        found = search(problem, schedules, seed)
        for starts in (once, dispatch(problem, "latest_start"), better, found):
            assert violation(problem, starts) is None
            assert makespan(problem, starts) >= lower_bound(problem)
        assert makespan(problem, better) <= makespan(problem, once)

    @given(problems(most=30), st.integers(0, 3))
    @settings(max_examples=50, deadline=None)
    def test_of_a_search_is_not_longer_than_the_dispatch(self, problem, seed):
        for rule in ("latest_start", "latest_finish"):
            assert makespan(problem, search(problem, 12, seed)) <= makespan(problem, dispatch(problem, rule))

    @given(problems(most=30), st.integers(1, 3))
    @settings(max_examples=50, deadline=None)
    def test_is_the_same_however_the_profile_is_scanned(self, problem, patience):
        packed = Packed(problem)
        expected = serial(packed, packed.forward, packed.forward.base)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(generation, "JUMPS_MAX", patience)
            assert serial(packed, packed.forward, packed.forward.base) == expected

    @given(problems(most=5))
    @settings(max_examples=60, deadline=None)
    def test_of_a_tiny_project_is_the_shortest_there_is(self, problem):
        if problem.durations:
            assert makespan(problem, search(problem, 400, 0)) == shortest(problem)


class TestCrossover:
    @given(problems(most=14), st.permutations(range(14)), st.integers(0, 5))
    @settings(max_examples=100, deadline=None)
    def test_an_order_has_what_comes_after_first(self, problem, shuffled, seed):
        packed = Packed(problem)
        if not sum(problem.durations):
            return
        orders = (packed.forward.base, by_rule(packed, shuffled[: packed.count], "latest_start"))
        loads = crossover.loads(problem, packed)
        members = [crossover.member(packed, loads, serial(packed, packed.forward, o)) for o in orders]
        order = crossover.crossed(packed, members, genetic.uniform(seed))
        assert sorted(order) == list(range(packed.count))
        assert all(order.index(k) < order.index(j) for j in order for k in packed.forward.after[j])

    def test_work_is_what_was_done_by_then(self):
        problem = Problem([2, 1, 3], [[1, 0], [0, 3], [2, 3]], [4, 6], [[2], [], []])
        packed = Packed(problem)
        found = crossover.member(
            packed, crossover.loads(problem, packed), [end * packed.width for end in (2, 1, 5)]
        )
        assert found.makespan == 5 * packed.width
        assert found.work == [0, 0.75, 1, 2, 3, 4]

    def test_the_mother_gives_the_time_in_which_she_does_more_than_the_father(self, monkeypatch):
        # The mother does most at the end, the father at the start.
        problem = Problem([4, 4, 4, 4], [[1]] * 4, [2], [[]] * 4)
        packed = Packed(problem)
        mother, father = (
            crossover.member(packed, crossover.loads(problem, packed), [end * packed.width for end in ends])
            for ends in ((4, 8, 12, 12), (8, 12, 4, 4))
        )
        monkeypatch.setattr(crossover, "DRAWS", 2)
        monkeypatch.setattr(crossover, "SHARE_LEAST", 0.34)
        first_third, last_third = [0, 0, 0, 0], [0, 0, 0, 0.99]
        for draws in (first_third[1:] + last_third[1:], last_third[1:] + first_third[1:]):
            order = crossover.crossed(packed, [mother, father], iter([0, *draws]).__next__)
            assert order == [
                3,
                2,
                1,
                0,
            ]  # 0 alone is the father's; of the first third it would be [1, 3, 2, 0]


class TestSeeds:
    PROBLEM = Problem(
        [(j * 7) % 11 + 1 for j in range(40)],
        [[(j * 5) % 7, (j * 3) % 5] for j in range(40)],
        [9, 7],
        [[k for k in (j + 3, j + 8) if k < 40] for j in range(40)],
    )

    def test_the_same_seed_makes_the_same_schedule(self):
        assert search(self.PROBLEM, 200, 7) == search(self.PROBLEM, 200, 7)

    def test_more_schedules_are_not_worse_here(self):
        spans = [makespan(self.PROBLEM, search(self.PROBLEM, budget, 7)) for budget in (1, 10, 100, 1000)]
        assert spans == sorted(spans, reverse=True)

    def test_no_more_is_placed_than_was_asked_for(self, monkeypatch):
        placed = []

        def counting(generate):
            def counted(packed, direction, order, *more):
                placed.append(len(order))
                return generate(packed, direction, order, *more)

            return counted

        for module in (genetic, justification):
            monkeypatch.setattr(module, "serial", counting(serial))
        monkeypatch.setattr(genetic, "parallel", counting(generation.parallel))
        search(self.PROBLEM, 1000, 7)
        assert placed == [40] * 1000

    def test_the_caller_may_stop_it(self):
        asked = []
        starts = search(self.PROBLEM, 10_000, 7, lambda: len(asked) > 5 or bool(asked.append(0)))
        assert len(asked) == 6
        assert valid(self.PROBLEM, starts)


class TestMilliseconds:
    @given(problems(most=20), st.lists(st.floats(0, 1e7), min_size=20, max_size=20))
    @settings(max_examples=100, deadline=None)
    def test_durations_need_be_neither_whole_nor_short(self, problem, durations):
        durations = durations[: len(problem.durations)]
        dependencies = [
            [i for i, after in enumerate(problem.successors) if j in after] for j in range(len(durations))
        ]
        arguments = (durations, problem.demands, problem.capacities, dependencies)
        once = plan_ahead(*arguments, schedules=1)
        ahead = plan_ahead(*arguments, schedules=30)
        for schedule in (once, ahead):
            # Ends and starts are one sum of floats here and another there.
            shrunk = [length * (1 - 1e-12) for length in durations]
            assert violation(problem, schedule.starts, shrunk) is None
        assert ahead.makespan <= once.makespan
        assert ahead.makespan >= ahead.lower_bound * (1 - 1e-12)

    def test_a_long_project_in_coarse_units_is_as_good_as_in_its_own(self):
        ms = [length * 3_600_000 for length in TestSeeds.PROBLEM.durations]
        dependencies = [[i for i in (j - 3, j - 8) if i >= 0] for j in range(40)]
        arguments = (TestSeeds.PROBLEM.demands, [9, 7], dependencies)
        short = plan_ahead(TestSeeds.PROBLEM.durations, *arguments, schedules=300)
        long = plan_ahead(ms, *arguments, schedules=300)
        assert long.makespan <= short.makespan * 3_600_000 * 1.02

    def test_durations_whose_sum_is_no_number_any_more(self):
        assert plan_ahead([1e308] * 4, [[1]] * 4, [1], [[]] * 4).starts == [0, 1e308, *[float("inf")] * 2]

    def test_amounts_need_not_be_whole(self):
        half = plan_ahead([10, 10, 10], [[0.5], [0.5], [0.5]], [1], [[], [], []])
        assert half.makespan == 20
        tenths = plan_ahead([10] * 10, [[0.1]] * 10, [0.1 * 3], [[]] * 10)
        assert tenths.makespan == 40

    def test_whole_amounts_may_be_large(self):
        schedule = plan_ahead([10] * 4, [[700_000]] * 4, [1_500_000], [[]] * 4)
        assert schedule.makespan == 20


class TestSize:
    def test_the_work_is_bounded(self):
        assert affordable(120, 1000) <= 1000
        assert affordable(10, 1000) == 1000
        assert affordable(10**9, 1000) == 1
        assert all(affordable(n, 10**9) * n <= plan.PLACEMENTS_MAX for n in (1, 77, 5000))

    def test_a_large_project_is_dispatched_once(self, monkeypatch):
        monkeypatch.setattr(plan, "PLACEMENTS_MAX", 100)
        monkeypatch.setattr(plan, "search", None)
        count = 200
        dependencies = [[j - 7] if j >= 7 else [] for j in range(count)]
        schedule = plan_ahead([float(j % 13) for j in range(count)], [[1]] * count, [3], dependencies)
        assert schedule.makespan >= schedule.lower_bound
