"""For operators that make large arrays: memory that need not be copied when it is returned.

@operator
def squares(n: int) -> Array:
    result = empty(n, "float32")
    for start in range(0, n, 1_000_000):
        result[start : start + 1_000_000] = compute(start)
    return result
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flowc.plan import runtime

if TYPE_CHECKING:
    import numpy as np


def empty(shape: int | tuple[int, ...], dtype: Any = "float64") -> np.ndarray[Any, Any]:
    """An array of zeros, to be filled and returned: it lies in the artifact store already.

    Returned as it is, alone or within a result, it is handed over without a copy. Reshaped it still is; a
    slice of it, or one of another order, is copied as any array. Outside of a run it is numpy's own.
    `OSError` if the disk has no room for it.
    """
    if runtime.empty is None:
        import numpy as np

        return np.zeros(shape, dtype)
    made: np.ndarray[Any, Any] = runtime.empty(shape, dtype)
    return made
