"""What every family demands before it fits, so that a mistake is told in the caller's words."""

import math
from typing import Any

from stdlib.types import Dataset


def require_positive(**settings: float) -> None:
    """`ValueError` that names the first setting that is not a finite number above 0."""
    for name, value in settings.items():
        if not 0 < value < math.inf:
            raise ValueError(f"`{name}` must be more than 0, got {value}")


def require_seed(seed: int) -> None:
    """`ValueError` unless the seed is one that numpy, scikit-learn and torch all take."""
    if not 0 <= seed < 2**32:
        raise ValueError(f"`seed` must be from 0 to 2**32 - 1, got {seed}")


def require_every_class(data: Dataset[Any]) -> None:
    """`ValueError` unless there are two classes or more and each has a row to learn from."""
    import numpy as np

    if len(data.classes) < 2:
        raise ValueError(f"a classifier needs at least 2 classes, got {len(data.classes)}")
    counts = np.bincount(data.target, minlength=len(data.classes))
    missing = [name for name, count in zip(data.classes, counts, strict=True) if count == 0]
    if missing:
        raise ValueError(f"no rows to learn from for class {', '.join(f'`{name}`' for name in missing)}")
