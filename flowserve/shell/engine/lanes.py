"""What the engine keeps of one model: its calls, what they cost, what was counted, and what was answered."""

from __future__ import annotations

import math
from collections.abc import Callable
from time import perf_counter, thread_time, time

import msgspec

from flowserve.core.engine.batching import Batcher, Reason
from flowserve.core.engine.cache import ResponseCache, content_key
from flowserve.core.engine.calls import UNSAID, Call, Overloaded
from flowserve.core.engine.costs import Costs
from flowserve.core.engine.joining import is_plain
from flowserve.core.engine.profile import Profile, policy_for, settled
from flowserve.core.engine.tally import Tally
from flowserve.core.models.model import Model
from flowserve.core.models.pipeline import Stage, route
from flowserve.core.models.settings import PRIORITIES
from flowserve.shell.engine.threads import Threads

_ROUTES_MAX = 64


class Told(msgspec.Struct):
    """A refusal, what was asked for, and until when the same stands for whoever asks for no less."""

    told: Overloaded
    reason: Reason
    rows: int
    time_ms: float
    priority: int
    said_ms: float
    stands_ms: float

    def covers(self, rows: int, time_ms: float, priority: int) -> bool:
        """Whether it is the answer to so many rows, with so much time and this priority, too."""
        return rows >= self.rows and 0 < time_ms <= self.time_ms and priority >= self.priority


class Lane:
    """A model's calls."""

    def __init__(
        self,
        model: Model,
        profile: Profile,
        processors: int,
        tally: Tally,
        threads: Threads,
        inline_ms: float,
    ) -> None:
        """Runs that are expected to take no more than `inline_ms` need none of the `threads`."""
        settings = settled(model.settings, profile)
        policy = policy_for(settings, processors)
        self.threads = threads
        self.inline_ms = inline_ms
        self.costs = Costs()
        for rows, ms in profile.joined_ms.items():
            self.costs.observe(rows, ms)
        self.batcher = Batcher(policy, self.costs.expected_ms)
        self.tally = tally
        # The clock of the thread stands still while others have the processor.
        self.clock = thread_time if profile.on_cpu else perf_counter
        self.joins = policy.rows_max > 0
        self.plain = is_plain(model.signature)
        self.alone = 0
        self.refused: Told | None = None
        """What was told last."""
        self.gathered = 0
        self.will_advance = False
        self.cache = ResponseCache(round(settings.cache_mb * 2**20)) if settings.cache_mb else None
        self.bound = model.bound
        self.special = self.cache is not None or self.bound is not None
        """Whether a call may be answered otherwise than by a run of the model."""
        self._routes: dict[tuple[str, ...], tuple[Stage, ...]] = {}
        self._priority = settings.priority - 1
        self._timeout_ms = settings.timeout_ms or math.inf
        self._timeout_ms_max = settings.timeout_ms_max or math.inf

    def deadline_ms(self, asked: float | None, now_ms: float) -> float:
        """When a call that asks for this deadline is to be over."""
        if asked is None:
            return now_ms + min(self._timeout_ms, self._timeout_ms_max)
        return min(asked, now_ms + self._timeout_ms_max)

    def priority(self, asked: int) -> int:
        """The priority of a call that asks for this one."""
        return self._priority if asked == UNSAID else max(0, min(asked, PRIORITIES - 1))

    def stages(self, outputs: tuple[str, ...]) -> tuple[Stage, ...]:
        """Of a pipeline, what has to run for these outputs."""
        assert self.bound is not None
        stages = self._routes.get(outputs)
        if stages is None:
            if len(self._routes) >= _ROUTES_MAX:  # clients choose outputs
                self._routes.clear()
            stages = self._routes[outputs] = route(self.bound.pipeline, outputs)
        return stages

    def answer_from_cache(self, call: Call) -> bool:
        """Answer a call with what was kept, or have its outputs kept. Returns whether it is answered."""
        cache, tally = self.cache, self.tally
        began = perf_counter()
        key = content_key(call.feed, call.outputs) if cache is not None else None
        if cache is None or key is None:
            return False
        kept = cache.get(key)
        looked_ms = (perf_counter() - began) * 1e3
        if kept is not None:
            tally.hit(looked_ms, time())
            call.done(kept)
            return True
        call.done = _keeping(cache, key, tally, looked_ms, call.done)
        return False


def _keeping(
    cache: ResponseCache, key: bytes, tally: Tally, looked_ms: float, told: Callable[..., None]
) -> Callable[..., None]:
    def done(result: object) -> None:
        began = perf_counter()
        if isinstance(result, list):
            cache.put(key, result)
        tally.misses += 1
        tally.miss_ms += looked_ms + (perf_counter() - began) * 1e3
        told(result)

    return done
