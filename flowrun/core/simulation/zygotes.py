"""When the processes of calls can begin: as `flowrun/shell/workers/zygotes.py` has it, on a simulated clock.

A zygote forks workers, one after the other. For each set of modules that operators import there is one that
has loaded them, forked from the one that has most of them: only what needs them waits for that.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

MOST = 16


class Zygote(msgspec.Struct, eq=False):
    """What it has loaded, or will have at `loaded_ms`; and when it has forked all that it was told to."""

    number: int
    has: frozenset[str]
    loaded_ms: float
    free_ms: float


class Zygotes:
    """All that there are. `modules` says what it takes to load each, in milliseconds."""

    def __init__(self, modules: Mapping[str, int]) -> None:
        self._modules = modules
        self._all = [Zygote(0, frozenset(), 0, 0)]
        self._foreseen: list[frozenset[str]] = []

    def fork(self, imports: Iterable[str], now_ms: float, fork_ms: float) -> float:
        """When the process of a call that needs these modules begins, if it is wanted now."""
        wanted = self._known(imports)
        self._begin_foreseen(now_ms)
        zygote = self._find(wanted, now_ms) or self._make(wanted, now_ms)
        began_ms = max(now_ms, zygote.free_ms)
        zygote.free_ms = began_ms + fork_ms
        return began_ms

    def foresee(self, imports: Iterable[str], now_ms: float) -> None:
        """A call that needs these modules is to come: they are loaded once nothing else is."""
        self._begin_foreseen(now_ms)
        self._foreseen.append(self._known(imports))
        self._begin_foreseen(now_ms)

    def _known(self, imports: Iterable[str]) -> frozenset[str]:
        """Those that take time."""
        return frozenset(name for name in imports if self._modules.get(name))

    def _begin_foreseen(self, now_ms: float) -> None:
        """Make what was foreseen, as soon as all that there are have loaded."""
        while self._foreseen and (at_ms := max(zygote.loaded_ms for zygote in self._all)) <= now_ms:
            wanted = self._foreseen.pop(0)
            if self._find(wanted, at_ms) is None:
                self._make(wanted, at_ms)

    def _find(self, wanted: frozenset[str], now_ms: float) -> Zygote | None:
        fit = [zygote for zygote in self._all if zygote.has >= wanted] if wanted else self._all[:1]
        return max(fit, key=lambda zygote: (zygote.loaded_ms <= now_ms, zygote.number), default=None)

    def _make(self, wanted: frozenset[str], now_ms: float) -> Zygote:
        """Fork one from that which has most of what is wanted; waiting for modules that are is no loss."""
        could = [zygote for zygote in self._all if zygote.loaded_ms <= now_ms or zygote.has <= wanted]
        nearest = max(could, key=lambda zygote: (len(zygote.has & wanted), zygote.number))
        if len(self._all) >= MOST:
            return nearest
        took_ms = sum(self._modules[name] for name in wanted - nearest.has)
        loaded_ms = max(now_ms, nearest.loaded_ms) + took_ms
        made = Zygote(len(self._all), nearest.has | wanted, loaded_ms, loaded_ms)
        self._all.append(made)
        return made
