"""What follows from a warm-up."""

import numpy as np
import pytest

from flowserve.core.engine.batching import Policy
from flowserve.core.engine.profile import Profile, batch_sizes, policy_for, same, sample
from flowserve.core.models.signature import TensorSpec
from flowserve.core.wire.datatypes import DATATYPES


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


def test_a_policy_keeps_what_is_set():
    policy = policy_for(Profile({1: 1, 2: 1.1, 4: 1.2}, True), Policy(queue_max=7))
    assert (policy.queue_max, policy.rows_max, policy.preferred_rows) == (7, 4, 4)


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


def test_samples_fit_every_datatype():
    specs = [TensorSpec(name, datatype, (-1, 2, -1)) for name, datatype in DATATYPES.items()]
    feed = sample(specs, 3)
    for spec in specs:
        assert feed[spec.name].shape == (3, 2, 1)
        assert feed[spec.name].dtype == np.dtype(spec.datatype.numpy)
