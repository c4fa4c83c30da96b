"""What is counted of a model's calls. Cheap: it is counted with every call."""

from __future__ import annotations

_SIZES_MAX = 1024


class Tally:
    """Of one model, since it was loaded. Times are in milliseconds, and add up over all that was counted."""

    __slots__ = (
        "failed",
        "failed_ms",
        "hit_ms",
        "hits",
        "last_s",
        "miss_ms",
        "misses",
        "queue_ms",
        "read_ms",
        "rows",
        "run_ms",
        "runs",
        "succeeded",
        "write_ms",
    )

    def __init__(self) -> None:
        self.succeeded = self.failed = self.rows = 0
        self.last_s = 0.0
        """When a call succeeded last, in seconds since 1970."""
        self.queue_ms = self.run_ms = self.failed_ms = 0.0
        self.read_ms = self.write_ms = 0.0
        """From bytes to tensors and back; whoever does that adds to these."""
        self.hits = self.misses = 0
        """Calls whose answer was kept, which count among those that succeeded, and those whose was not."""
        self.hit_ms = self.miss_ms = 0.0
        """For looking up, and keeping."""
        self.runs: dict[int, list[float]] = {}
        """By rows: how many runs, and how long they took."""

    def ran(self, rows: int, ms: float) -> None:
        """Count a run of the model, of one call or of several together."""
        run = self.runs.get(rows)
        if run is None:
            # Clients choose their number of rows: there must not be a count for each that they think of.
            run = self.runs.setdefault(rows if len(self.runs) < _SIZES_MAX else 0, [0, 0.0])
        run[0] += 1
        run[1] += ms

    def success(self, rows: int, queue_ms: float, run_ms: float, now_s: float) -> None:
        """Count a call that has its outputs. Calls that ran together took the time of their run each."""
        self.succeeded += 1
        self.rows += rows
        self.queue_ms += queue_ms
        self.run_ms += run_ms
        self.last_s = now_s

    def hit(self, ms: float, now_s: float) -> None:
        """Count a call whose outputs were kept from an earlier one."""
        self.succeeded += 1
        self.hits += 1
        self.hit_ms += ms
        self.last_s = now_s

    def failure(self, ms: float) -> None:
        """Count a call that was refused or that the model failed."""
        self.failed += 1
        self.failed_ms += ms
