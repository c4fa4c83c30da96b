"""What follows from a warm-up."""

import numpy as np
import pytest

from flowserve.core.datatypes import DATATYPES
from flowserve.core.engine.batching import Policy
from flowserve.core.engine.profile import (
    Profile,
    batch_sizes,
    chosen_threads,
    policy_for,
    same,
    sample,
    settled,
    trials,
)
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import TensorSpec


@pytest.mark.parametrize(
    ("joined_ms", "sizes"),
    [
        ({1: 1, 2: 1.1, 4: 1.2, 8: 1.4, 16: 2.8}, (8, 16)),  # nothing is gained beyond 8, nor lost
        ({1: 1, 2: 2, 4: 4, 8: 8}, (0, 0)),  # a row costs the same whatever is beside it
        ({1: 1, 2: 1.1, 8: 30}, (2, 2)),  # nobody is to wait for 8 rows so long
        ({1: 30, 2: 31, 4: 32}, (4, 4)),  # a single one takes long already
        ({1: 1}, (0, 0)),
        ({}, (0, 0)),
    ],
)
def test_sizes_of_batches(joined_ms, sizes):

    assert batch_sizes(Profile(joined_ms, independent=True)) == sizes


def test_what_depends_on_other_rows_is_not_joined():
    assert batch_sizes(Profile({1: 1, 2: 1, 4: 1}, independent=False)) == (0, 0)


@pytest.mark.parametrize(
    ("alone_ms", "calls"),
    [
        (
            0.015,
            [[1, 1], [1, 1, 62]],
        ),  # no batch is worth it: what is asked is whether 64 rows at once differ
        (0.1, [[1] * 2, [1] * 4, [1] * 16, [1] * 64]),  # at most 6.4 ms
        (1.0, [[1] * 2, [1] * 4, [1] * 8, [1] * 16, [1] * 32, [1] * 64]),
    ],
)
def test_only_what_something_follows_from_is_measured(alone_ms, calls):
    assert trials(alone_ms) == calls


def test_what_is_not_tried_together_is_not_worth_it():
    assert batch_sizes(Profile({1: 0.015, 2: 0.015, 64: 0.02}, independent=True)) == (0, 0)


HELPS = Profile({1: 1, 2: 1.1, 4: 1.2}, True)


@pytest.mark.parametrize(
    ("said", "profile", "expected"),
    [
        ({}, HELPS, ("on", 4, 4)),
        ({}, Profile({1: 1, 2: 2}, True), ("off", 0, 0)),
        ({"max_rows": 2}, HELPS, ("on", 2, 2)),
        ({"max_rows": 256, "preferred_rows": 100}, HELPS, ("on", 256, 100)),
        ({"batching": "off"}, HELPS, ("off", 0, 0)),
        ({"batching": "on"}, Profile(), ("on", 64, 64)),
        ({"batching": "on", "max_rows": 8}, Profile({1: 1, 2: 2}, True), ("on", 8, 8)),
    ],
)
def test_what_is_said_of_batches_and_what_is_measured(said, profile, expected):
    settings = settled(ModelSettings(**said), profile)
    assert (settings.batching, settings.max_rows, settings.preferred_rows) == expected
    assert settled(settings, profile) == settings


def test_a_policy_is_what_the_settings_say():
    said = ModelSettings(max_rows=8, preferred_rows=4, delay_ms=2, queue=7, queue_s=1.5, threads=4)
    assert policy_for(said, processors=8) == Policy(2, 8, 4, 2, 7, 1500)
    assert policy_for(ModelSettings(concurrency=3, threads=4), 8).concurrency == 3
    assert policy_for(ModelSettings(threads=4), 2).concurrency == 1


@pytest.mark.parametrize(
    ("run_ms", "threads"),
    [({1: 8}, 1), ({1: 8, 2: 4.4, 4: 2.6, 8: 2.4}, 4), ({1: 8, 2: 7}, 1), ({1: 8, 2: 7, 4: 1}, 1)],
)
def test_threads_are_taken_as_long_as_they_help(run_ms, threads):
    assert chosen_threads(run_ms) == threads


@pytest.mark.parametrize(
    ("alone", "together", "expected"),
    [
        (np.float32([1, 100]), np.float32([1.0001, 100.001]), True),
        (np.float32([1, 100]), np.float32([1.1, 100]), False),
        (np.float32([np.nan, np.inf]), np.float32([np.nan, np.inf]), True),
        (np.int64([3]), np.int64([4]), False),
        (np.array(["a"], object), np.array(["a"], object), True),
        (np.zeros((1, 2)), np.zeros((2, 1)), False),
    ],
)
def test_the_same_but_for_rounding(alone, together, expected):
    assert same([alone], [together]) is expected


def test_what_computes_coarsely_may_round_more():
    alone, together = [np.float32([1, 100])], [np.float32([1.05, 100.1])]
    assert (same(alone, together), same(alone, together, coarse=True)) == (False, True)
    assert not same(alone, [np.float32([1, 110])], coarse=True)


def test_samples_fit_every_datatype():
    specs = [TensorSpec(name, datatype, (-1, 2, -1)) for name, datatype in DATATYPES.items()]
    feed = sample(specs, 3)
    for spec in specs:
        assert feed[spec.name].shape == (3, 2, 1)
        assert feed[spec.name].dtype == np.dtype(spec.datatype.numpy)
