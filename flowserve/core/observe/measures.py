"""What a server has counted, as values: of each process, and of all of them together.

They go from processes to the supervisor, which adds them up. What a process had counted that is gone counts
on, as of when it was asked last: a counter that fell would be taken for one that had begun anew.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

import msgspec

from flowserve.core.engine.tally import STAGES, Tally
from flowserve.core.histogram import added
from flowserve.core.rollout.evidence import Evidence
from flowserve.core.rollout.plan import Rollout

Counts = list[int]
"""A histogram as `histogram` has it; empty for nothing."""


class Refusals(msgspec.Struct, frozen=True, array_like=True):
    """Requests that were answered without outputs. `reason` is the code of a diagnostic, or empty."""

    status: int
    reason: str
    count: int


class ModelMeasure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one version of a model. Times are in milliseconds and, like counts, of all since it is served."""

    name: str
    version: int

    # Calls: what ran, for requests or as steps of a pipeline.
    succeeded: int = 0
    queue_ms: float = 0.0
    """Of those that succeeded, like `run_ms`, in which a call has the whole time of a run that it shared."""
    run_ms: float = 0.0
    last_s: float = 0.0
    """When one succeeded last, in seconds since 1970."""
    failed: int = 0
    """Those that the engine refused, or that the model failed."""
    failed_ms: float = 0.0
    rows: int = 0
    hits: int = 0
    """Those that were answered from the cache, which are among those that succeeded."""
    hit_ms: float = 0.0
    misses: int = 0
    miss_ms: float = 0.0
    runs: dict[int, tuple[int, float]] = {}
    """By rows: how many runs of the model, and how long they took."""
    read_and_written_ms: dict[int, tuple[float, float]] = {}
    """By the rows of these runs: how long reading the requests in them, and writing their answers, took."""

    # Requests to it.
    refusals: list[Refusals] = []
    request: Counts = []
    """Of those that were answered with outputs, like all that follows."""
    request_ms: float = 0.0
    stages: list[Counts] = []
    stages_ms: list[float] = []
    per_s: float = 0.0
    """Requests a second, over the last minute or so."""
    tier: int = 0
    loads: int = 0
    load_ms: float = 0.0
    evictions: int = 0

    # What is so now, which does not outlive its process.
    bytes: int = 0
    """On the host."""
    gpu_bytes: dict[str, int] = {}
    """By GPU, `gpu:0` and so on."""
    loaded: int = 0
    """How many processes have it in memory."""
    waiting: int = 0
    """Requests that wait for it to run."""


class Logged(msgspec.Struct, frozen=True):
    """What became of the lines of a log: `dropped` since too many waited, `lost` since writing failed."""

    written: int = 0
    dropped: int = 0
    lost: int = 0


class ProcessMeasure(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of one process. `answers` are all that it gave, by protocol and HTTP's status."""

    process: int
    cpu_s: float = 0.0
    resident_bytes: int = 0
    connections: int = 0
    in_flight: int = 0
    answers: dict[str, dict[int, int]] = {}
    logs: dict[str, Logged] = {}
    models: list[ModelMeasure] = []


class RolloutMeasure(msgspec.Struct, frozen=True):
    """Of an alias that was rolled out: what came to both sides in all steps, and the verdicts on it.

    `rollout` is the one that is under way.
    """

    name: str
    alias: str
    rollout: Rollout | None
    evidence: Evidence
    verdicts: dict[str, int] = {}


class ServerMeasure(msgspec.Struct, frozen=True):
    """Of a server. `processes` are those that answer, by the number of their place, with no models."""

    version: str
    started_s: float
    generation: int
    restarts: int
    states: dict[str, int]
    """How many versions are in each state."""
    processes: dict[str, ProcessMeasure]
    gone: ProcessMeasure
    """What those had counted that are gone."""
    models: list[ModelMeasure]
    rollouts: list[RolloutMeasure] = []


def measured(name: str, version: int, tally: Tally) -> ModelMeasure:
    """What was counted of a version. An empty tally makes no histograms."""
    request_ms = tally.request_ms
    busy = bool(request_ms)
    return ModelMeasure(
        name,
        version,
        runs={rows: (round(count), ms) for rows, (count, ms) in tally.runs.items()},
        read_and_written_ms=dict(tally.read_and_written_ms),
        refusals=[Refusals(*key, count) for key, count in sorted(tally.refusals.items())],
        request=tally.request if busy else [],
        request_ms=request_ms,
        stages=tally.stages if busy else [],
        stages_ms=tally.stages_ms if busy else [],
        per_s=tally.per_s,
        last_s=tally.last_s,
        **{name: getattr(tally, name) for name in _OF_CALLS},
    )


def stage_ms(stage: str, of: ModelMeasure) -> float:
    """How long requests took in one of `STAGES`."""
    return of.stages_ms[STAGES.index(stage)] if of.stages_ms else 0.0


def lasting(measure: ModelMeasure) -> ModelMeasure:
    """What outlives the process that counted it."""
    return msgspec.structs.replace(measure, per_s=0.0, bytes=0, gpu_bytes={}, loaded=0, waiting=0)


def together(of_processes: Iterable[Iterable[ModelMeasure]]) -> list[ModelMeasure]:
    """Add up what several processes have counted of the same models, by name and version."""
    whole: dict[tuple[str, int], ModelMeasure] = {}
    for measures in of_processes:
        for one in measures:
            key = (one.name, one.version)
            whole[key] = _sum(whole[key], one) if key in whole else one
    return [whole[key] for key in sorted(whole)]


def both(a: ProcessMeasure, b: ProcessMeasure) -> ProcessMeasure:
    """What two processes have counted, for `gone`: without what was so at some time only."""
    return ProcessMeasure(
        a.process,
        cpu_s=a.cpu_s + b.cpu_s,
        answers={
            protocol: _added(a.answers.get(protocol, {}), b.answers.get(protocol, {}))
            for protocol in sorted({*a.answers, *b.answers})
        },
        logs={
            name: _logged(a.logs.get(name, Logged()), b.logs.get(name, Logged()))
            for name in sorted({*a.logs, *b.logs})
        },
        models=together([map(lasting, a.models), map(lasting, b.models)]),
    )


def _sum(a: ModelMeasure, b: ModelMeasure) -> ModelMeasure:
    refusals: dict[tuple[int, str], int] = {}
    for of in (*a.refusals, *b.refusals):
        refusals[of.status, of.reason] = refusals.get((of.status, of.reason), 0) + of.count
    runs = dict(a.runs)
    for rows, (count, ms) in b.runs.items():
        known, took = runs.get(rows, (0, 0.0))
        runs[rows] = (known + count, took + ms)
    read_and_written_ms = dict(a.read_and_written_ms)
    for rows, (read_ms, written_ms) in b.read_and_written_ms.items():
        others = read_and_written_ms.get(rows, (0.0, 0.0))
        read_and_written_ms[rows] = others[0] + read_ms, others[1] + written_ms
    return ModelMeasure(
        a.name,
        a.version,
        refusals=[Refusals(*key, count) for key, count in sorted(refusals.items())],
        request=added(a.request, b.request),
        stages=[added(x, y) for x, y in zip(a.stages or _NONE, b.stages or _NONE, strict=True)],
        stages_ms=[x + y for x, y in zip(a.stages_ms or _ZERO, b.stages_ms or _ZERO, strict=True)],
        runs=runs,
        read_and_written_ms=read_and_written_ms,
        last_s=max(a.last_s, b.last_s),
        tier=max(a.tier, b.tier),
        gpu_bytes=dict(Counter(a.gpu_bytes) + Counter(b.gpu_bytes)),
        **{name: getattr(a, name) + getattr(b, name) for name in _ADDED},
    )


def _added(a: Mapping[int, int], b: Mapping[int, int]) -> dict[int, int]:
    return {key: a.get(key, 0) + b.get(key, 0) for key in sorted({*a, *b})}


def _logged(a: Logged, b: Logged) -> Logged:
    return Logged(a.written + b.written, a.dropped + b.dropped, a.lost + b.lost)


_NONE: list[Counts] = [[] for _ in STAGES]
_ZERO = [0.0 for _ in STAGES]
_OF_CALLS = (
    *("succeeded", "queue_ms", "run_ms", "failed", "failed_ms"),
    *("rows", "hits", "hit_ms", "misses", "miss_ms"),
)
_ADDED = (*_OF_CALLS, *("request_ms", "per_s", "loads", "load_ms", "evictions", "bytes", "loaded", "waiting"))
