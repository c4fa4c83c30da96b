"""What the rows of a chart stand for, and how much of a thing there was when. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from flowrun.core.bottleneck import gpu_share
from flowrun.core.timeline import Interval, Timeline

_STEPS_MS = [
    *(base * 10**power for power in range(4) for base in (1, 2, 5)),
    *(60_000 * minutes for minutes in (1 / 6, 1 / 3, 0.5, 1, 2, 5, 10, 20, 30)),
    *(3_600_000 * hours for hours in (1, 2, 4, 6, 12, 24, 48, 96, 168, 336, 720, 2160, 8760)),
]


class Row(NamedTuple):
    """A row of a chart: a node, or all nodes of a site, of a scope (`scope/…`), or of all that is left."""

    label: str
    intervals: Sequence[Interval]

    @property
    def folded(self) -> bool:
        """Whether it stands for more than one node."""
        return len(self.intervals) > 1


def rows_of(timeline: Timeline, most: int) -> list[Row]:
    """At most so many rows, by their first start: nodes, else sites, else scopes from the innermost on."""
    intervals = timeline.intervals
    if len(intervals) <= most:
        return [Row(interval.node, [interval]) for interval in intervals]
    deepest = max(interval.site.count("/") for interval in intervals)
    rows: dict[str, list[Interval]] = {}
    for depth in range(deepest, -1, -1):
        rows = {}
        for interval in intervals:
            rows.setdefault(_scope(interval.site, depth, depth == deepest), []).append(interval)
        if len(rows) <= most:
            break
    found = [Row(label, group) for label, group in rows.items()]
    if len(found) > most:
        found.sort(key=lambda row: -sum(i.end_ms - i.start_ms for i in row.intervals))
        rest = [interval for row in found[most - 1 :] for interval in row.intervals]
        left = Row(f"… {len(found) - most + 1} others", rest)
        found = [*sorted(found[: most - 1], key=lambda row: row.intervals[0].start_ms), left]
    return found


def _scope(site: str, depth: int, whole: bool) -> str:
    """A site by as many of its outer scopes; `whole` leaves it as it is."""
    parts = site.split("/")
    return site if whole or len(parts) <= depth + 1 else "/".join([*parts[: depth + 1], "…"])


def profile(spans: Iterable[tuple[float, float, float]], whole: float, bins: int) -> list[float]:
    """How much there was, on average, in each of `bins` equal parts of the time from 0 to `whole`.

    A span is a start, an end, and how much there was in between.
    """
    rising = [0.0] * (bins + 1)  # from this bin on
    partly = [0.0] * (bins + 1)  # in this bin alone
    scale = bins / whole if whole else 0.0
    for start, end, amount in spans:
        for at, change in ((start * scale, amount), (end * scale, -amount)):
            place = min(int(at), bins)
            partly[place] += change * (1 - (at - place))
            rising[min(place + 1, bins)] += change
    found, level = [], 0.0
    for i in range(bins):
        level += rising[i] if i else 0.0
        found.append(max(0.0, level + partly[i]))
    return found


def running(intervals: Iterable[Interval], whole: float, bins: int) -> list[float]:
    """How many of some nodes held their place at a time."""
    return profile(((i.start_ms, i.end_ms, 1.0) for i in intervals), whole, bins)


def peak(row: Row) -> int:
    """The most nodes of a row that held their place at a time."""
    moments = [(i.start_ms, 1) for i in row.intervals] + [(i.end_ms, -1) for i in row.intervals]
    most = now = 0
    for _, change in sorted(moments):
        now += change
        most = max(most, now)
    return max(1, most)


def use(timeline: Timeline, bins: int) -> dict[str, list[float]]:
    """For each dimension the share of the host that was held; of GPUs in all."""
    capacity, whole = timeline.capacity, timeline.makespan_ms
    held = {
        "cpus": [(i.start_ms, i.end_ms, i.placement.cpus / capacity.cpus) for i in timeline.intervals],
        "memory": [
            (i.start_ms, i.end_ms, i.placement.memory_mb / capacity.memory_mb) for i in timeline.intervals
        ],
    }
    if capacity.gpus:
        count = len(capacity.gpus)
        held["gpus"] = [
            (i.start_ms, i.end_ms, len(i.placement.gpus) * gpu_share(i.placement, capacity) / count)
            for i in timeline.intervals
            if i.placement.gpus
        ]
    return {name: profile(spans, whole, bins) for name, spans in held.items()}


def ticks(whole_ms: float, most: int) -> list[float]:
    """The moments to write on a time axis, from 0 on: round ones, at most so many."""
    step = next((step for step in _STEPS_MS if whole_ms / step <= most), max(1.0, whole_ms / most))
    return [i * step for i in range(int(whole_ms / step) + 1)]


def kinds(timeline: Timeline, most: int) -> dict[str, str]:
    """For each site what its colour stands for: itself if there are few, else its outermost scope.

    The kind that took most comes first.
    """
    took: dict[str, int] = {}
    for interval in timeline.intervals:
        took[interval.site] = took.get(interval.site, 0) + interval.end_ms - interval.start_ms
    kind_of = {
        site: site if len(took) <= most else site.rpartition("/")[0].partition("/")[0] for site in took
    }
    if len(set(kind_of.values())) == 1:
        kind_of = {site: site for site in took}
    weight: dict[str, int] = {}
    for site, kind in kind_of.items():
        weight[kind] = weight.get(kind, 0) + took[site]
    return dict(sorted(kind_of.items(), key=lambda of: (-weight[of[1]], of[1], of[0])))
