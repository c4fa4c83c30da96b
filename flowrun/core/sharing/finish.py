"""Finish-time fairness: how much later work ends than if its team had its own part of the host for itself.

Mahajan et al.: Themis: Fair and Efficient GPU Cluster Scheduling, NSDI 2020: `rho` = time from submission to
end on the shared host / the same on a private host of the size that the team is entitled to. Above 1 sharing
was a loss, below 1 a gain.
"""

from __future__ import annotations

import msgspec


def alone_ms(duration_ms: float, share: float, entitled: float) -> float:
    """How long work of a dominant share takes on a team's own part of the host.

    What fits in takes as long as it does here. What is larger than that part takes longer in proportion:
    the paper's assumption that work scales.
    """
    return duration_ms * max(1.0, share / entitled)


class FinishTimes(msgspec.Struct):
    """What a team's finished work came to. Fed one by one: a month of work needs no list of it."""

    count: int = 0
    total: float = 0.0
    worst: float = 0.0
    unfair: int = 0  # how many with rho above 1.0

    def add(self, shared_ms: float, alone_ms: float) -> None:
        """Work ended `shared_ms` after it was submitted, and would have taken `alone_ms` alone."""
        rho = shared_ms / alone_ms if alone_ms > 0 else 1.0
        self.count += 1
        self.total += rho
        self.worst = max(self.worst, rho)
        self.unfair += rho > 1.0 + 1e-9

    @property
    def mean(self) -> float:
        """The mean of rho; 1 if nothing ended."""
        return self.total / self.count if self.count else 1.0
