"""What the process that executes an operator offers to it. Nothing, where it is called without a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

# Makes an array that lies where results are stored, of a shape and a dtype.
empty: Callable[[int | tuple[int, ...], Any], Any] | None = None
# Of the attempt that is executed: its `run`, `node`, `attempt` and `args`.
order: Any = None
