"""What is learned, counted and told once a batch has run."""

import pytest

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.engine.batching import Batch, Entry
from flowserve.core.engine.calls import Call
from flowserve.core.engine.profile import Profile
from flowserve.core.engine.tally import Tally
from flowserve.core.models.model import Model
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature
from flowserve.shell.engine.lanes import Lane
from flowserve.shell.engine.running import Ran
from flowserve.shell.engine.telling import learn, tell

JOINS = Profile(dict.fromkeys((1, 2, 4, 8, 16, 32, 64), 1.0), independent=True)


def batch(*rows, began_ms=7.0):
    told = []
    calls = [Call(None, {}, (), count, told.append) for count in rows]
    entries = [Entry(call, call.rows, arrived_ms=2.0) for call in calls]
    return Batch(entries, sum(rows), began_ms, 1.0), told


@pytest.fixture
def lane():
    model = Model("m", 1, Signature((), ()), lambda feed, outputs: [], ModelSettings())
    return Lane(model, JOINS, 1, Tally(), None, 0.25)


def test_calls_that_ran_together_cost_one_run(lane):
    given, _ = batch(2, 3)
    learn(lane, given, Ran([[], []], 4.0))
    assert lane.tally.runs == {5: [1, 4.0]}
    assert lane.joins


def test_calls_that_ran_one_by_one_cost_a_run_each(lane):
    given, _ = batch(2, 2)
    learn(lane, given, Ran([[], []], 4.0, joined=False))
    assert lane.tally.runs == {2: [2, 4.0]}
    assert lane.joins


def test_a_model_whose_calls_cannot_run_together_is_not_joined_again(lane):
    given, _ = batch(1, 1)
    learn(lane, given, Ran([[], []], 4.0, joined=False, apart=True))
    assert not lane.joins
    assert lane.batcher.policy.rows_max == 0


def test_each_call_is_told_its_own_and_how_long_it_waited_and_ran():
    tally = Tally()
    given, told = batch(1, 2)
    refused = Refused(Diagnostic("FS210", "no"))
    tell(tally, given, Ran([["out"], refused], 4.0))
    assert told == [["out"], refused]
    assert [(entry.call.queue_ms, entry.call.run_ms) for entry in given.entries] == [(5.0, 4.0)] * 2
    assert (tally.succeeded, tally.rows, tally.queue_ms, tally.run_ms) == (1, 1, 5.0, 4.0)
    assert (tally.failed, tally.failed_ms) == (1, 9.0)
