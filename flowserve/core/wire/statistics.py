"""The statistics extension: what the host has counted of a model, as Triton names it.

Source: Triton's `extension_statistics.md`. Times are in nanoseconds, and add up over all that was counted
since the version was loaded: `compute_input` from bytes to tensors, `compute_output` from tensors to bytes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from flowserve.core.engine.tally import Tally

if TYPE_CHECKING:  # these bring numpy along, which the supervisor does without
    from flowserve.core.models.table import Table


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
    """Of runs of the model with `batch_size` rows."""

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


def statistics_of(name: str, version: str, tally: Tally) -> ModelStatistics:
    """Say what was counted of a version in the extension's words."""
    tally.settle()
    done = tally.succeeded
    whole_ms = tally.queue_ms + tally.run_ms + tally.read_ms + tally.write_ms + tally.hit_ms + tally.miss_ms
    return ModelStatistics(
        name,
        version,
        last_inference=round(tally.last_s * 1e3),
        inference_count=tally.rows,
        execution_count=sum(round(count) for count, _ in tally.runs.values()),
        inference_stats=InferenceStatistics(
            success=_duration(done, whole_ms),
            fail=_duration(tally.failed, tally.failed_ms),
            queue=_duration(done, tally.queue_ms),
            compute_input=_duration(done, tally.read_ms),
            compute_infer=_duration(done - tally.hits, tally.run_ms),
            compute_output=_duration(done, tally.write_ms),
            cache_hit=_duration(tally.hits, tally.hit_ms),
            cache_miss=_duration(tally.misses, tally.miss_ms),
        ),
        batch_stats=[
            BatchStatistics(rows, compute_infer=_duration(round(count), ms))
            for rows, (count, ms) in sorted(tally.runs.items())
        ],
    )


def counted(
    table: Table, tallies: Mapping[tuple[str, int], Tally], name: str, version: str
) -> list[ModelStatistics]:
    """What was counted: of all models, of all versions of one, or of one version. Raises `Refused` FS202."""
    if not name:
        wanted = list(table)
    elif version or "@" in name:
        wanted = [table.version(name, version)]
    else:
        wanted = [table.version(name, number) for number in table.versions(name)]
    return [
        statistics_of(of.key.name, str(of.key.version), tallies.get((of.key.name, of.key.version)) or Tally())
        for of in wanted
    ]


def summed(of_processes: Iterable[Sequence[ModelStatistics]]) -> list[ModelStatistics]:
    """Add up what several processes have counted of the same models."""
    whole: dict[tuple[str, str], ModelStatistics] = {}
    for counts in of_processes:
        for one in counts:
            key = (one.name, one.version)
            whole[key] = _sum(whole[key], one) if key in whole else one
    return list(whole.values())


def _sum(a: ModelStatistics, b: ModelStatistics) -> ModelStatistics:
    batches = {batch.batch_size: batch for batch in a.batch_stats}
    for batch in b.batch_stats:
        known = batches.get(batch.batch_size, BatchStatistics(batch.batch_size))
        both = known.compute_infer, batch.compute_infer
        batches[batch.batch_size] = BatchStatistics(batch.batch_size, compute_infer=_both(*both))
    return ModelStatistics(
        a.name,
        a.version,
        max(a.last_inference, b.last_inference),
        a.inference_count + b.inference_count,
        a.execution_count + b.execution_count,
        InferenceStatistics(
            **{
                stage: _both(getattr(a.inference_stats, stage), getattr(b.inference_stats, stage))
                for stage in InferenceStatistics.__struct_fields__
            }
        ),
        batch_stats=[batches[rows] for rows in sorted(batches)],
    )


def _both(a: Duration, b: Duration) -> Duration:
    return Duration(a.count + b.count, a.ns + b.ns)


def _duration(count: int, ms: float) -> Duration:
    return Duration(count, round(ms * 1e6))
