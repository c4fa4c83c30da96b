"""Effective priority: base priority, less the price of being above one's share, plus what waiting earned.

    effective = priority - weight * (violation of the tier, of the team, of each team that it is a part of)
                         + log(waited / threshold)  beyond the threshold

The formula of the design's fairness scheduler and of its remedy against starvation; `docs/sharing.md`.
"""

from __future__ import annotations

import math
from typing import Any

LEAST_SHARE = 1e-6  # a team that is guaranteed nothing is the first to be above its share, not infinitely so


def penalty(share: Any, entitled: Any, weight: float = 1, relative: bool = True) -> Any:
    """What a team or tier pays that holds `share` and is entitled to `entitled`; below that it is negative.

    Both are dominant shares, 0 to 1. Relative to the entitlement, the order of the penalties is that of
    weighted DRF, `share / entitled`, for any number of teams of any size.
    """
    return weight * (share / max(entitled, LEAST_SHARE) - 1 if relative else share - entitled)


def boost(waited_ms: float, threshold_ms: float) -> float:
    """What waiting earns: nothing up to the threshold, 0.69 at twice that, 2.3 at ten times."""
    return math.log(waited_ms / threshold_ms) if waited_ms > threshold_ms else 0
