"""Tensors in memory. numpy has no bfloat16: an array of BF16 holds its bits as 16-bit integers."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

Array = npt.NDArray[Any]
