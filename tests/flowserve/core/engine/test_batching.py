"""When calls run, and which together: cases, then what holds whatever happens."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from flowserve.core.engine.batching import Batcher, Entry, Policy, Reason


def linear(rows):
    """A run of 10 ms, and 1 ms a row."""
    return 10.0 + rows


def batcher(**policy):
    return Batcher(Policy(**policy), linear)


def names(batch):
    return [entry.call for entry in batch.entries]


def filled(taken, *entries, now=0.0):
    """`taken` with a call for each name or entry; nothing may be refused."""
    for entry in entries:
        entry = entry if isinstance(entry, Entry) else Entry(entry)
        assert taken.arrived(entry, now) == []
    return taken


def test_an_idle_model_runs_what_arrives_at_once():
    taken = filled(batcher(rows_max=8), "a")
    batch, refused = taken.next(0)
    assert (names(batch), batch.rows, refused) == (["a"], 1, [])


def test_what_arrives_while_a_batch_runs_makes_the_next():
    taken = filled(batcher(rows_max=8), "a")
    first, _ = taken.next(0)
    filled(taken, "b", "c", "d")
    assert taken.next(1) == (None, [])
    taken.ended(first, 11)
    assert names(taken.next(11)[0]) == ["b", "c", "d"]


def test_without_batching_every_call_runs_by_itself():
    taken = filled(batcher(concurrency=2), "a", "b", "c")
    assert [names(taken.next(0)[0]) for _ in range(2)] == [["a"], ["b"]]
    assert taken.next(0)[0] is None


def test_a_batch_has_as_many_rows_as_it_may():
    taken = filled(batcher(rows_max=8), Entry("a", 3), Entry("b", 5), Entry("c", 1))
    assert names(taken.next(0)[0]) == ["a", "b"]


def test_a_call_with_more_rows_runs_by_itself():
    taken = filled(batcher(rows_max=8, concurrency=3), Entry("a"), Entry("b", 100), Entry("c"))
    assert [names(taken.next(0)[0]) for _ in range(3)] == [["a"], ["b"], ["c"]]


def test_calls_of_different_keys_do_not_mix():
    entries = [Entry(name, key=name[0]) for name in ("x1", "y1", "x2", "y2", "x3")]
    taken = filled(batcher(rows_max=8, concurrency=2), *entries)
    assert [names(taken.next(0)[0]) for _ in range(2)] == [["x1", "x2", "x3"], ["y1", "y2"]]


def test_priorities_go_first_and_in_order_of_arrival():
    entries = [Entry("a", priority=5), Entry("b", priority=1), Entry("c", priority=5), Entry("d", priority=1)]
    taken = filled(batcher(concurrency=4), *entries)
    assert [names(taken.next(0)[0]) for _ in range(4)] == [["b"], ["d"], ["a"], ["c"]]


def test_a_delay_waits_for_the_preferred_rows():
    taken = filled(batcher(rows_max=8, preferred_rows=4, delay_ms=5), "a")
    assert taken.next(0) == (None, [])
    assert taken.wake_ms() == 5
    assert names(taken.next(5)[0]) == ["a"]


def test_a_delay_ends_with_the_preferred_rows():
    taken = filled(batcher(rows_max=8, preferred_rows=4, delay_ms=5), "a", "b", "c", "d")
    assert names(taken.next(0)[0]) == ["a", "b", "c", "d"]


def test_a_delay_ends_when_a_deadline_comes_near():
    taken = filled(batcher(rows_max=8, preferred_rows=4, delay_ms=50), Entry("a", deadline_ms=30))
    assert taken.next(18)[0] is None
    assert taken.wake_ms() == 19  # a run of one row takes 11 ms
    assert names(taken.next(19)[0]) == ["a"]


def test_as_many_wait_as_may():
    taken = filled(batcher(queue_max=2), "a", "b")
    (refusal,) = taken.arrived(Entry("c"), 0)
    assert (refusal.entry.call, refusal.reason) == ("c", Reason.FULL)


def test_where_all_places_are_taken_the_last_of_a_lower_priority_goes():
    taken = filled(batcher(queue_max=2), Entry("a", priority=1), Entry("b", priority=2))
    (refusal,) = taken.arrived(Entry("c", priority=0), 0)
    assert (refusal.entry.call, refusal.reason) == ("b", Reason.FULL)
    assert [entry.call for entry in taken] == ["c", "a"]


def test_who_would_come_too_late_is_refused_at_once_and_told_when_to_come():
    taken = filled(batcher(), "a", "b", "c")
    (refusal,) = taken.arrived(Entry("d", deadline_ms=40), 0)
    assert (refusal.reason, refusal.retry_after_ms) == (Reason.BUSY, 33)
    assert taken.arrived(Entry("e", deadline_ms=62), 0) == []  # 1.4 times 33 + 11


def test_an_idle_model_takes_a_deadline_that_seems_too_short():
    """Else one interruption could make it refuse for ever, and never learn better."""
    assert batcher().arrived(Entry("a", deadline_ms=1), 0) == []


def test_who_asks_for_no_deadline_waits_within_bounds():
    taken = filled(batcher(wait_ms_max=20), "a")
    (refusal,) = filled(taken, "b").arrived(Entry("c"), 0)
    assert refusal.reason is Reason.BUSY


def test_a_deadline_that_passes_while_waiting():
    taken = filled(batcher(), "a", Entry("b", deadline_ms=31), "c")
    first, _ = taken.next(0)
    taken.ended(first, 100)
    batch, refused = taken.next(100)
    assert names(batch) == ["c"]
    assert [(refusal.entry.call, refusal.reason) for refusal in refused] == [("b", Reason.EXPIRED)]


def test_what_would_end_too_late_makes_way_but_for_the_last():
    entries = [Entry(name, deadline_ms=47) for name in "abc"]
    taken = filled(batcher(), *entries)
    batch, refused = taken.next(37)
    assert [refusal.entry.call for refusal in refused] == ["a", "b"]
    assert names(batch) == ["c"]


def test_deadlines_that_pass_while_nothing_ends():
    taken = filled(batcher(), "a", Entry("b", deadline_ms=31), "c")
    assert [refusal.entry.call for refusal in taken.expired(31)] == ["b"]
    assert [entry.call for entry in taken] == ["a", "c"]


def test_a_client_that_left():
    gone = Entry("b")
    taken = filled(batcher(), "a", gone, "c")
    assert taken.cancelled(gone)
    assert not taken.cancelled(gone)
    assert [entry.call for entry in taken] == ["a", "c"]
    assert taken.wait_ms(0, 9) == 22


def test_runs_that_take_longer_than_expected_make_waits_longer():
    taken = batcher()
    for turn in range(100):
        filled(taken, "a", now=turn * 22.0)
        batch, _ = taken.next(turn * 22.0)
        taken.ended(batch, turn * 22.0 + 22)
    filled(taken, "a", now=2200)
    assert taken.wait_ms(2200, 9) == pytest.approx(22, rel=0.01)


calls = st.builds(
    Entry,
    call=st.just("call"),
    rows=st.integers(0, 12),
    key=st.sampled_from("xy"),
    deadline_ms=st.one_of(st.just(math.inf), st.floats(0, 500)),
    priority=st.integers(0, 2),
)


class Life(RuleBasedStateMachine):
    """Any history: every call runs once, or is refused once, or was cancelled."""

    def __init__(self):
        super().__init__()
        self.policy = Policy(concurrency=2, rows_max=8, preferred_rows=4, delay_ms=3, queue_max=6)
        self.batcher = Batcher(self.policy, linear)
        self.now = 0.0
        self.waiting, self.running, self.over = [], [], []

    def refuse(self, refusals):
        for refusal in refusals:
            assert refusal.retry_after_ms >= 0
            if refusal.reason is not Reason.FULL:
                assert refusal.entry.deadline_ms < math.inf
            self.waiting.remove(refusal.entry)
            self.over.append(refusal.entry)

    @rule(entry=calls)
    def arrive(self, entry):
        self.waiting.append(entry)
        self.refuse(self.batcher.arrived(entry, self.now))

    @rule()
    def run(self):
        order = list(self.batcher)
        batch, refused = self.batcher.next(self.now)
        self.refuse(refused)
        if batch is None:
            return
        over = {id(refusal.entry) for refusal in refused}
        assert batch.entries[0] is next(e for e in order if id(e) not in over), "the first goes first"
        assert len({entry.key for entry in batch.entries}) == 1
        assert len(batch.entries) == 1 or batch.rows <= self.policy.rows_max
        assert batch.rows == sum(entry.rows for entry in batch.entries)
        for entry in batch.entries:
            assert entry.deadline_ms > self.now
            self.waiting.remove(entry)
        self.running.append(batch)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data):
        batch = data.draw(st.sampled_from(self.running))
        self.running.remove(batch)
        self.over += batch.entries
        self.batcher.ended(batch, self.now)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data):
        entry = data.draw(st.sampled_from(self.waiting))
        assert self.batcher.cancelled(entry)
        self.waiting.remove(entry)

    @rule(ms=st.floats(0, 50))
    def wait(self, ms):
        self.now += ms
        self.refuse(self.batcher.expired(self.now))

    @invariant()
    def books_are_right(self):
        assert sorted(map(id, self.batcher)) == sorted(map(id, self.waiting))
        assert self.batcher.waiting == len(self.waiting) <= self.policy.queue_max
        assert self.batcher.running == len(self.running) <= self.policy.concurrency
        assert len({id(entry) for entry in self.over}) == len(self.over)
        assert (self.batcher.wait_ms(self.now, 9) > 0) >= bool(self.waiting)

    @invariant()
    def an_idle_model_does_not_keep_anybody_beyond_the_delay(self):
        if self.waiting and len(self.running) < self.policy.concurrency:
            assert self.batcher.wake_ms() <= next(iter(self.batcher)).arrived_ms + self.policy.delay_ms


TestLife = Life.TestCase


@given(st.lists(st.tuples(st.integers(1, 8), st.integers(0, 2)), min_size=1, max_size=40))
def test_with_time_everything_runs(arrivals):
    taken = batcher(rows_max=8, queue_max=100)
    filled(taken, *[Entry(i, rows, priority=level) for i, (rows, level) in enumerate(arrivals)])
    ran, now = [], 0.0
    while taken.waiting:
        batch, refused = taken.next(now)
        assert not refused
        now += linear(batch.rows)
        taken.ended(batch, now)
        ran += names(batch)
    assert sorted(ran) == list(range(len(arrivals)))
    assert taken.wait_ms(now, 9) == 0
