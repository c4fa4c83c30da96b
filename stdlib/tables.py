"""Operators that load and cut tables of labelled rows."""

from typing import Any, TypeVar

from flowc import Array, operator
from flowc.types import Schema, float32
from stdlib.types import Dataset, Split

C = TypeVar("C", bound=Schema)


class Flowers(Schema):
    """Lengths and widths of the leaves of a flower, in centimetres."""

    sepal_length: float32
    sepal_width: float32
    petal_length: float32
    petal_width: float32


@operator(memory="512MB")
def load_iris() -> Dataset[Flowers]:
    """150 flowers [150, 4], lengths and widths in centimetres, of 3 species.

    R. A. Fisher, 1936, as it ships with scikit-learn: nothing is downloaded.
    """
    import numpy as np
    from sklearn import datasets

    bunch = datasets.load_iris()
    features, target = bunch.data.astype(np.float32), bunch.target.astype(np.int64)
    columns = [name.removesuffix(" (cm)").replace(" ", "_") for name in bunch.feature_names]
    return Dataset(features, target, columns, [str(c) for c in bunch.target_names])


@operator(memory="512MB")
def load_digits() -> Dataset[Any]:
    """1,797 handwritten digits [1797, 64], images of 8 by 8 pixels row by row, each pixel's ink from 0 to 1.

    E. Alpaydin and C. Kaynak, 1998 (UCI), as it ships with scikit-learn: nothing is downloaded.
    """
    import numpy as np
    from sklearn import datasets

    bunch = datasets.load_digits()
    features, target = (bunch.data / 16).astype(np.float32), bunch.target.astype(np.int64)
    return Dataset(
        features, target, [str(name) for name in bunch.feature_names], [str(c) for c in bunch.target_names]
    )


@operator(memory="256MB")
def split(data: Dataset[C], test_share: float = 0.25, seed: int = 0) -> Split[C]:
    """Keep a share of each class's rows aside for testing; all rows keep their order.

    Each class gives `test_share` of its rows, rounded, but at least one to either side. `ValueError` if the
    share is not between 0 and 1, or a class has fewer than two rows.
    """
    import numpy as np

    if not 0 < test_share < 1:
        raise ValueError(f"`test_share` must be between 0 and 1, got {test_share}")
    # Unlike `default_rng`, numpy promises that the numbers of `RandomState` never change.
    random = np.random.RandomState(seed)
    test = np.zeros(data.rows, dtype=bool)
    for index, name in enumerate(data.classes):
        rows = np.flatnonzero(data.target == index)
        if len(rows) < 2:
            raise ValueError(f"class `{name}` has {len(rows)} row(s): a split needs at least 2 of each class")
        count = min(max(round(len(rows) * test_share), 1), len(rows) - 1)
        test[random.permutation(rows)[:count]] = True

    def kept(chosen: Array) -> Dataset[C]:
        return Dataset(data.features[chosen], data.target[chosen], data.feature_names, data.classes)

    return Split(kept(~test), kept(test))
