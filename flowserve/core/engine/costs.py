"""How long a model runs, by number of rows: learned from every run, and smoothed."""

from __future__ import annotations

_SMOOTHING = 1 / 8
# A run that was merely interrupted counts for no more than this, or four times what was expected.
_SURPRISE_MS = 2.0
_SURPRISE = 4.0


class Costs:
    """Milliseconds by number of rows, which are told apart by powers of two; between those it is a line."""

    def __init__(self) -> None:
        self.known = False
        """Whether anything was observed."""
        # By size class: the smoothed cost, and the smoothed number of rows that it is the cost of.
        self._ms: dict[int, float] = {}
        self._rows: dict[int, float] = {}

    def observe(self, rows: int, ms: float) -> None:
        """Learn from a run."""
        size = rows.bit_length()
        before = self._ms.get(size)
        if before is None:
            self._ms[size], self._rows[size] = ms, rows
            self.known = True
            return
        if ms > _SURPRISE_MS:
            ms = min(ms, max(_SURPRISE * before, _SURPRISE_MS))
        self._ms[size] = before + _SMOOTHING * (ms - before)
        self._rows[size] += _SMOOTHING * (rows - self._rows[size])

    def expected_ms(self, rows: int) -> float:
        """What a run of so many rows will take; 0 when nothing is known."""
        size = rows.bit_length()
        exact = self._ms.get(size)
        if exact is not None and rows <= self._rows[size]:
            return exact
        return self._between(rows) if self._ms else 0.0

    def _between(self, rows: int) -> float:
        points = sorted((self._rows[size], self._ms[size]) for size in self._ms)
        above = next((point for point in points if point[0] > rows), None)
        low = max((point for point in points if point[0] <= rows), default=None)
        if low is None:
            return points[0][1]
        if above is None:
            # Beyond what was seen, a further row is taken to cost what those seen did on average.
            return low[1] * max(1.0, rows / max(1.0, low[0]))
        share = (rows - low[0]) / (above[0] - low[0])
        return low[1] + share * (above[1] - low[1])
