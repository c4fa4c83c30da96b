"""What the process that executes an operator knows of it. Nothing, where it is called without a run."""

from __future__ import annotations

from typing import Any

order: Any = None  # of the attempt: its `run`, `node`, `attempt` and `args`
