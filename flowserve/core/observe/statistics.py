"""The statistics extension: what a server has counted of a model, in Triton's words.

Source: Triton's `extension_statistics.md`. Times are in nanoseconds, and add up over all that was counted
since the version is served: `compute_input` from bytes to tensors, `compute_output` from tensors to bytes.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flowserve.core.models.key import Key
from flowserve.core.observe.measures import ModelMeasure, stage_ms


class Duration(msgspec.Struct, frozen=True):
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0


class InferenceStatistics(msgspec.Struct, frozen=True):
    """Of requests: how they ended, and how long each stage of those that succeeded took."""

    success: Duration = Duration()
    fail: Duration = Duration()
    queue: Duration = Duration()
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class BatchStatistics(msgspec.Struct, frozen=True):
    """Of runs of the model with `batch_size` rows, and of the requests that were in them."""

    batch_size: int
    compute_input: Duration = Duration()
    compute_infer: Duration = Duration()
    compute_output: Duration = Duration()


class ModelStatistics(msgspec.Struct, frozen=True):
    """Of one version of a model. `last_inference` is in milliseconds since 1970; counts are of rows."""

    name: str
    version: str
    last_inference: int = 0
    inference_count: int = 0
    """Rows inferred."""
    execution_count: int = 0
    """Runs of the model; smaller than `inference_count` where requests ran together."""
    inference_stats: InferenceStatistics = InferenceStatistics()
    response_stats: dict[str, int] = {}
    batch_stats: list[BatchStatistics] = []
    memory_usage: list[int] = []


def statistics(versions: Iterable[Key], measures: Iterable[ModelMeasure]) -> list[ModelStatistics]:
    """Say what was counted of these versions; of one that nobody has asked, that it was nothing."""
    counted = {(of.name, of.version): of for of in measures}
    return [
        _statistics(counted.get((key.name, key.version)) or ModelMeasure(key.name, key.version))
        for key in versions
    ]


def _statistics(of: ModelMeasure) -> ModelStatistics:
    input_ms, output_ms = stage_ms("parse", of), stage_ms("serialise", of)
    whole_ms = of.queue_ms + of.run_ms + input_ms + output_ms + of.hit_ms + of.miss_ms
    return ModelStatistics(
        of.name,
        str(of.version),
        last_inference=round(of.last_s * 1e3),
        inference_count=of.rows,
        execution_count=sum(count for count, _ in of.runs.values()),
        inference_stats=InferenceStatistics(
            success=_duration(of.succeeded, whole_ms),
            fail=_duration(of.failed, of.failed_ms),
            queue=_duration(of.succeeded, of.queue_ms),
            compute_input=_duration(of.succeeded, input_ms),
            compute_infer=_duration(of.succeeded - of.hits, of.run_ms),
            compute_output=_duration(of.succeeded, output_ms),
            cache_hit=_duration(of.hits, of.hit_ms),
            cache_miss=_duration(of.misses, of.miss_ms),
        ),
        batch_stats=[
            _batches(rows, count, ms, *of.read_and_written_ms.get(rows, (0.0, 0.0)))
            for rows, (count, ms) in sorted(of.runs.items())
        ],
    )


def _batches(rows: int, count: int, run_ms: float, read_ms: float, written_ms: float) -> BatchStatistics:
    return BatchStatistics(
        rows, _duration(count, read_ms), _duration(count, run_ms), _duration(count, written_ms)
    )


def _duration(count: int, ms: float) -> Duration:
    return Duration(count, round(ms * 1e6))
