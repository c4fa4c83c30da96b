"""What a process has seen of a rollout, in numbers that add up over processes.

Latencies are kept as a histogram of eighths of an octave, 9 % wide: `{bucket: how many}`.
"""

from __future__ import annotations

from math import ceil, log2

import msgspec

Histogram = dict[int, int]
_PER_OCTAVE = 8


class Counts(msgspec.Struct):
    """Of one side: the requests that came to it by share. Those that a header sent there are `forced` and
    only counted, since who forces a side is no sample of all."""

    requests: int = 0
    errors: int = 0
    """Answers that were refusals, whoever was to blame, and clients that left before theirs."""
    latency: Histogram = {}
    """Of answers that were none, from the request's last byte to the answer."""
    forced: int = 0
    forced_errors: int = 0

    def count(self, ok: bool, ms: float, forced: bool) -> None:
        """Count a request that has ended."""
        if forced:
            self.forced += 1
            self.forced_errors += not ok
            return
        self.requests += 1
        if ok:
            observe(self.latency, ms)
        else:
            self.errors += 1


class Difference(msgspec.Struct):
    """How far an output of the candidate is from the stable version's. `off`: rows beyond the tolerance, or
    of another shape; `flipped`: rows whose largest value, or label, stands elsewhere."""

    rows: int = 0
    off: int = 0
    flipped: int = 0
    max_absolute: float = 0.0
    max_relative: float = 0.0


class Shadowed(msgspec.Struct):
    """Of requests that both versions ran."""

    compared: int = 0
    failed: int = 0
    """The candidate refused what the stable version answered; not `compared`."""
    dropped: int = 0
    """Not run at all: there was other work to do."""
    disagreement: float = 0.0
    """The sum over requests of the share of rows that differ."""
    outputs: dict[str, Difference] = {}
    stable: Histogram = {}
    candidate: Histogram = {}


class Evidence(msgspec.Struct):
    """What was seen in one step of a rollout."""

    stable: Counts = msgspec.field(default_factory=Counts)
    candidate: Counts = msgspec.field(default_factory=Counts)
    shadow: Shadowed = msgspec.field(default_factory=Shadowed)


def observe(histogram: Histogram, ms: float) -> None:
    """Count a time."""
    bucket = bucket_of(ms)
    histogram[bucket] = histogram.get(bucket, 0) + 1


def bucket_of(ms: float) -> int:
    """The bucket of a time; bucket 0 ends at 1 ms."""
    return ceil(_PER_OCTAVE * log2(max(ms, 1e-3)))


def bound_ms(bucket: int) -> float:
    """What no time in a bucket is above."""
    return float(2 ** (bucket / _PER_OCTAVE))


def quantile(histogram: Histogram, share: float) -> int:
    """The bucket that at least `share` of all times do not exceed. There must be some."""
    left = ceil(share * sum(histogram.values()))
    for bucket, count in sorted(histogram.items()):
        left -= count
        if left <= 0:
            return bucket
    return max(histogram)


def above(histogram: Histogram, bucket: int) -> int:
    """How many times are above all of a bucket."""
    return sum([count for at, count in histogram.items() if at > bucket])


def summed(all_of: list[Evidence]) -> Evidence:
    """Add up what several processes have seen."""
    whole = Evidence()
    for one in all_of:
        _add_counts(whole.stable, one.stable)
        _add_counts(whole.candidate, one.candidate)
        _add_shadowed(whole.shadow, one.shadow)
    return whole


def _add_counts(to: Counts, more: Counts) -> None:
    for name in ("requests", "errors", "forced", "forced_errors"):
        setattr(to, name, getattr(to, name) + getattr(more, name))
    _add_histogram(to.latency, more.latency)


def _add_shadowed(to: Shadowed, more: Shadowed) -> None:
    for name in ("compared", "failed", "dropped", "disagreement"):
        setattr(to, name, getattr(to, name) + getattr(more, name))
    for name, output in more.outputs.items():
        add_difference(to.outputs.setdefault(name, Difference()), output)
    _add_histogram(to.stable, more.stable)
    _add_histogram(to.candidate, more.candidate)


def add_difference(to: Difference, more: Difference) -> None:
    """Add one difference to another."""
    to.rows += more.rows
    to.off += more.off
    to.flipped += more.flipped
    to.max_absolute = max(to.max_absolute, more.max_absolute)
    to.max_relative = max(to.max_relative, more.max_relative)


def _add_histogram(to: Histogram, more: Histogram) -> None:
    for bucket, count in more.items():
        to[bucket] = to.get(bucket, 0) + count
