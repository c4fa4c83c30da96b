"""What hosts and devices have, what is free of it, where a request goes, and what can never fit."""

from flowrun.core.pool.feasible import can_ever_fit
from flowrun.core.pool.pool import Pool

__all__ = ["Pool", "can_ever_fit"]
