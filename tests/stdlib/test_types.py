import numpy as np
import pytest

from stdlib.types import Dataset

FEATURES = np.zeros((2, 3), np.float32)
TARGET = np.array([0, 1])
NAMES, CLASSES = ["a", "b", "c"], ["no", "yes"]


def test_a_dataset_counts_its_rows():
    assert Dataset(FEATURES, TARGET, NAMES, CLASSES).rows == 2


@pytest.mark.parametrize(
    ("features", "target", "names", "message"),
    [
        (FEATURES[0], TARGET, NAMES, r"`features` must be float32 \[rows, columns\], got float32 \[3\]"),
        (FEATURES.astype(float), TARGET, NAMES, r"got float64 \[2, 3\]"),
        (FEATURES, TARGET.astype(np.int32), NAMES, r"`target` must be int64 \[rows\], got int32 \[2\]"),
        (FEATURES[:1], TARGET, NAMES, "`features` has 1 rows, but `target` has 2"),
        (FEATURES, TARGET, ["a"], "3 columns, but 1 `feature_names`"),
        (FEATURES, TARGET + 1, NAMES, "indices of the 2 `classes`"),
        (FEATURES, TARGET - 1, NAMES, "indices of the 2 `classes`"),
        (np.float32([[0, 0, 0], [0, np.nan, 0]]), TARGET, NAMES, "row 1 has nan for `b`"),
    ],
)
def test_a_dataset_whose_parts_do_not_fit_is_refused(features, target, names, message):
    with pytest.raises(ValueError, match=message):
        Dataset(features, target, names, CLASSES)
