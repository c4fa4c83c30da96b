"""The metrics of a server, in families for `exposition`. docs/observing.md says what each means.

Times are seconds, as Prometheus wants them, but in the families that are Triton's by name (`nv_...`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Literal

from flowc.plan.exposition import Metric, Sample, by, histogram, single
from flowserve.core.engine.tally import STAGES
from flowserve.core.histogram import SHOWN_MS, coarse
from flowserve.core.observe.measures import (
    ModelMeasure,
    ProcessMeasure,
    RolloutMeasure,
    ServerMeasure,
    stage_ms,
)

_BOUNDS_S = [float(f"{bound / 1e3:g}") for bound in SHOWN_MS]
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

Kind = Literal["counter", "gauge"]


def metrics(measure: ServerMeasure, stages: bool = True) -> Iterator[Metric]:
    """All families. Without `stages` there is one histogram a version in place of six."""
    yield from _of_server(measure)
    yield from _of_processes(measure)
    yield from _of_models(measure.models, stages)
    yield from _of_rollouts(measure.rollouts)
    yield from _as_triton(measure.models)


def _of_server(measure: ServerMeasure) -> Iterator[Metric]:
    about = "What answers, by its version."
    yield Metric("flowserve_info", "gauge", about, [("", {"version": measure.version}, 1)])
    about = "When the server was started, in seconds since 1970."
    yield single("flowserve_start_time_seconds", "gauge", about, measure.started_s)
    about = "Grows when other versions or aliases are served."
    yield single("flowserve_generation", "gauge", about, measure.generation)
    about = "Processes that died and were started again."
    yield single("flowserve_restarts_total", "counter", about, measure.restarts)
    yield Metric("flowserve_versions", "gauge", "Versions of models by state.", by("state", measure.states))


def _of_processes(measure: ServerMeasure) -> Iterator[Metric]:
    processes = measure.processes
    of: tuple[tuple[str, Kind, str, Callable[[ProcessMeasure], float]], ...] = (
        ("cpu_seconds_total", "counter", "CPU time of the process at this place.", attrgetter("cpu_s")),
        ("resident_bytes", "gauge", "Memory of the process at this place.", attrgetter("resident_bytes")),
    )
    for name, kind, about, value in of:
        values = {place: value(process) for place, process in processes.items()}
        yield Metric(f"flowserve_process_{name}", kind, about, by("process", values))
    answering = processes.values()
    yield single("flowserve_connections", "gauge", "Open connections.", sum(p.connections for p in answering))
    about = "Requests that are being answered."
    yield single("flowserve_requests_in_flight", "gauge", about, sum(p.in_flight for p in answering))
    answers: dict[tuple[str, int], int] = {}
    logs: dict[tuple[str, str], int] = {}
    for process in (*answering, measure.gone):
        for protocol, of_protocol in process.answers.items():
            for status, count in of_protocol.items():
                answers[protocol, status] = answers.get((protocol, status), 0) + count
        for log, logged in process.logs.items():
            for outcome in ("written", "dropped", "lost"):
                key = (log, outcome)
                logs[key] = logs.get(key, 0) + getattr(logged, outcome)
    about = "Answers to all requests, of models and others, by protocol and HTTP's status."
    yield Metric(
        "flowserve_answers_total",
        "counter",
        about,
        [("", {"protocol": p, "code": str(status)}, n) for (p, status), n in sorted(answers.items())],
    )
    about = "What became of lines of logs and of spans."
    yield Metric(
        "flowserve_log_records_total",
        "counter",
        about,
        [("", {"log": log, "outcome": outcome}, n) for (log, outcome), n in sorted(logs.items())],
    )


def _of_models(models: Sequence[ModelMeasure], stages: bool) -> Iterator[Metric]:
    about = "Requests of a version that were answered, by HTTP's status."
    yield Metric("flowserve_requests_total", "counter", about, list(_requests(models)))
    about = "Requests of a version that were refused, by the code of the diagnostic."
    yield Metric("flowserve_refusals_total", "counter", about, list(_refusals(models)))
    for name, kind, about, value in _FAMILIES:
        samples: list[Sample] = [("", _labels(of), n) for of in models if (n := value(of))]
        yield Metric(f"flowserve_{name}", kind, about, samples)
    about = "Memory that a version has in all processes, by where: the host, or one of its GPUs."
    spaces = [sample for of in models for sample in _spaces(of)]
    yield Metric("flowserve_model_memory_bytes", "gauge", about, spaces)
    about = "Rows that a model ran at once."
    rows = [sample for of in models if of.runs for sample in _batches(of)]
    yield Metric("flowserve_batch_rows", "histogram", about, rows)
    about = "From a request that has arrived to its answer; of requests that were answered with outputs."
    times = [
        sample
        for of in models
        if of.request
        for sample in histogram(_labels(of), _BOUNDS_S, coarse(of.request), of.request_ms / 1e3)
    ]
    yield Metric("flowserve_request_duration_seconds", "histogram", about, times)
    about = "What requests that were answered with outputs went through: stages, in order."
    if stages:
        staged = [sample for of in models if of.stages for sample in _stages(of)]
        yield Metric("flowserve_stage_duration_seconds", "histogram", about, staged)


def _of_rollouts(rollouts: Sequence[RolloutMeasure]) -> Iterator[Metric]:
    running = [(_of_alias(of), of.rollout) for of in rollouts if of.rollout is not None]
    about = "Share of an alias's requests that the candidate of a rollout gets, of 1."
    yield Metric("flowserve_rollout_share", "gauge", about, [("", at, of.share / 100) for at, of in running])
    about = "Step that a rollout is at, from 1 on."
    yield Metric("flowserve_rollout_step", "gauge", about, [("", at, of.step + 1) for at, of in running])
    about = "Requests that came to either side of rollouts of an alias, by what became of them."
    yield Metric("flowserve_rollout_requests_total", "counter", about, list(_by_side(rollouts)))
    about = "What was decided about rollouts of an alias."
    decided: list[Sample] = [
        ("", {**_of_alias(of), "verdict": verdict}, count)
        for of in rollouts
        for verdict, count in sorted(of.verdicts.items())
    ]
    yield Metric("flowserve_rollout_verdicts_total", "counter", about, decided)


def _by_side(rollouts: Iterable[RolloutMeasure]) -> Iterator[Sample]:
    for of in rollouts:
        for side, counts in (("stable", of.evidence.stable), ("candidate", of.evidence.candidate)):
            failed = counts.errors + counts.forced_errors
            outcomes = {"answered": counts.requests + counts.forced - failed, "failed": failed}
            for outcome, count in outcomes.items():
                yield "", {**_of_alias(of), "side": side, "outcome": outcome}, count


_FAMILIES: tuple[tuple[str, Kind, str, Callable[[ModelMeasure], float]], ...] = (
    ("rows_total", "counter", "Rows that were inferred.", attrgetter("rows")),
    ("cache_hits_total", "counter", "Requests that were answered from the cache.", attrgetter("hits")),
    ("cache_misses_total", "counter", "Requests whose answer was not kept.", attrgetter("misses")),
    ("queue_length", "gauge", "Requests that wait for a version to run.", attrgetter("waiting")),
    ("model_loaded", "gauge", "Processes that have a version in memory.", attrgetter("loaded")),
    ("model_bytes", "gauge", "Memory of the host that a version has in all processes.", attrgetter("bytes")),
    ("model_tier", "gauge", "Tier of a version.", attrgetter("tier")),
    ("model_loads_total", "counter", "How often a version was loaded.", attrgetter("loads")),
    ("model_load_seconds_total", "counter", "Time of loading a version.", lambda of: of.load_ms / 1e3),
    ("model_evictions_total", "counter", "How often a version had to make room.", attrgetter("evictions")),
)  # fmt: skip


def _requests(models: Iterable[ModelMeasure]) -> Iterator[Sample]:
    for of in models:
        counts = {200: sum(of.request)} if of.request else {}
        for refusals in of.refusals:
            counts[refusals.status] = counts.get(refusals.status, 0) + refusals.count
        for status, count in counts.items():
            yield "", {**_labels(of), "code": str(status)}, count


def _spaces(of: ModelMeasure) -> Iterator[Sample]:
    for space, count in (("host", of.bytes), *sorted(of.gpu_bytes.items())):
        if count:
            yield "", {**_labels(of), "space": space}, count


def _refusals(models: Iterable[ModelMeasure]) -> Iterator[Sample]:
    for of in models:
        for refusals in of.refusals:
            yield "", {**_labels(of), "reason": refusals.reason or "none"}, refusals.count


def _batches(of: ModelMeasure) -> Iterator[Sample]:
    counts = [0] * (len(_ROWS) + 1)
    total = 0
    for rows, (count, _) in of.runs.items():
        counts[next((i for i, bound in enumerate(_ROWS) if rows <= bound), len(_ROWS))] += count
        total += rows * count
    return histogram(_labels(of), _ROWS, counts, total)


def _stages(of: ModelMeasure) -> Iterator[Sample]:
    for stage, counts, total_ms in zip(STAGES, of.stages, of.stages_ms, strict=True):
        yield from histogram({**_labels(of), "stage": stage}, _BOUNDS_S, coarse(counts), total_ms / 1e3)


def _as_triton(models: Sequence[ModelMeasure]) -> Iterator[Metric]:
    """Families under Triton's names (its `metrics.md`), where they mean the same; times in microseconds."""
    asked = [of for of in models if of.succeeded or of.failed or of.refusals or of.waiting]
    for name, kind, about, value in _TRITON:
        samples: list[Sample] = [("", _labels(of), value(of)) for of in asked]
        yield Metric(f"nv_inference_{name}", kind, about, samples)


def _us(ms: Callable[[ModelMeasure], float]) -> Callable[[ModelMeasure], float]:
    return lambda of: round(ms(of) * 1e3)


_TRITON: tuple[tuple[str, Kind, str, Callable[[ModelMeasure], float]], ...] = (
    ("request_success", "counter", "Requests that were answered with outputs.", attrgetter("succeeded")),
    (
        "request_failure",
        "counter",
        "Requests that were refused or failed.",
        lambda of: sum(refusals.count for refusals in of.refusals),
    ),
    ("count", "counter", "Rows that were inferred.", attrgetter("rows")),
    (
        "exec_count",
        "counter",
        "Runs of the model; fewer than requests where those ran together.",
        lambda of: sum(count for count, _ in of.runs.values()),
    ),
    ("request_duration_us", "counter", "Time of requests.", _us(attrgetter("request_ms"))),
    ("queue_duration_us", "counter", "Time of waiting to run.", _us(attrgetter("queue_ms"))),
    ("compute_input_duration_us", "counter", "From bytes to tensors.", _us(partial(stage_ms, "parse"))),
    ("compute_infer_duration_us", "counter", "Time of running.", _us(attrgetter("run_ms"))),
    ("compute_output_duration_us", "counter", "From tensors to bytes.", _us(partial(stage_ms, "serialise"))),
    ("pending_request_count", "gauge", "Requests that wait to run.", attrgetter("waiting")),
)  # fmt: skip


def _of_alias(of: RolloutMeasure) -> dict[str, str]:
    return {"model": of.name, "alias": of.alias}


def _labels(of: ModelMeasure) -> dict[str, str]:
    return {"model": of.name, "version": str(of.version)}
