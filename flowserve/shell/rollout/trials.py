"""Requests of which a rollout decides who answers them: which side they get, and what comes of it."""

from __future__ import annotations

import random
from collections.abc import Callable
from time import perf_counter

from flowc.plan.diagnostics import Refused
from flowserve.core.arrays import Array
from flowserve.core.catalog.split import Split
from flowserve.core.catalog.version import Version
from flowserve.core.engine.calls import Done, Engine
from flowserve.shell.rollout.shadows import Shadow, Shadows

Header = Callable[[str], str]
"""The value of a request's header by its name in lower case, "" where there is none."""


class Trials:
    """Of one process. All methods run on its loop."""

    def __init__(self, engine: Engine) -> None:
        self._shadows = Shadows(engine)
        self._random = random.Random()  # seeded anew in each process

    def begin(self, split: Split, header: Header) -> Trial:
        """Decide for a request. It keeps its side, whatever becomes of the rollout."""
        plan = split.rollout.plan
        draw = self._random.random
        side, forced = split.choose(header(plan.header.lower()), header(plan.key.lower()), draw())
        shadows = None
        if side == "stable" and plan.shadow and not split.halted and draw() * 100 < plan.shadow:
            shadows = self._shadows
        version = split.candidate if side == "candidate" else split.stable
        version.uses += 1
        return Trial(split, version, forced, shadows)


class Trial:
    """One request. `version` answers it; its model may still have to be loaded."""

    __slots__ = ("_began", "_ended", "_forced", "_shadow", "_shadows", "_split", "version")

    def __init__(self, split: Split, version: Version, forced: bool, shadows: Shadows | None) -> None:
        self.version = version
        self._split = split
        self._forced = forced
        self._shadows = shadows
        self._shadow: Shadow | None = None
        self._ended = False
        self._began = perf_counter()

    def watched(self, feed: dict[str, Array], outputs: tuple[str, ...], rows: int, done: Done) -> Done:
        """What a call is to tell instead of `done`, so that its outputs can be compared."""
        if self._shadows is None:
            return done
        began = perf_counter()

        def ran(result: list[Array] | Refused) -> None:
            if not isinstance(result, Refused):
                ms = (perf_counter() - began) * 1e3
                self._shadow = Shadow(self._split, feed, outputs, rows, result, ms)
            done(result)

        return ran

    def ended(self, ok: bool) -> None:
        """Count the request, once it is answered or its client has left."""
        if self._ended:
            return
        self._ended = True
        split = self._split
        evidence = split.evidence
        counts = evidence.candidate if self.version is split.candidate else evidence.stable
        counts.count(ok, (perf_counter() - self._began) * 1e3, self._forced)
        if self._shadow is not None and self._shadows is not None:
            self._shadows.offer(self._shadow)
            self._shadow = None
