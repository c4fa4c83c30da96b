"""The statistics extension: what the host has counted of a model, as Triton names it.

Source: Triton's `extension_statistics.md`. Times are in nanoseconds, and add up over all that was counted.
"""

from __future__ import annotations

import msgspec


class Duration(msgspec.Struct):
    """How often, and how long in all."""

    count: int = 0
    ns: int = 0

    def add(self, ns: int, count: int = 1) -> None:
        """Count once more."""
        self.count += count
        self.ns += ns


class InferenceStatistics(msgspec.Struct):
    """Of requests: how they ended, and how long each stage of those that succeeded took."""

    success: Duration = msgspec.field(default_factory=Duration)
    fail: Duration = msgspec.field(default_factory=Duration)
    queue: Duration = msgspec.field(default_factory=Duration)
    compute_input: Duration = msgspec.field(default_factory=Duration)
    compute_infer: Duration = msgspec.field(default_factory=Duration)
    compute_output: Duration = msgspec.field(default_factory=Duration)
    cache_hit: Duration = msgspec.field(default_factory=Duration)
    cache_miss: Duration = msgspec.field(default_factory=Duration)


class BatchStatistics(msgspec.Struct):
    """Of runs of the model with `batch_size` rows."""

    batch_size: int
    compute_input: Duration = msgspec.field(default_factory=Duration)
    compute_infer: Duration = msgspec.field(default_factory=Duration)
    compute_output: Duration = msgspec.field(default_factory=Duration)


class ModelStatistics(msgspec.Struct):
    """Of one version of a model. `last_inference` is in milliseconds since 1970; counts are of rows."""

    name: str
    version: str
    last_inference: int = 0
    inference_count: int = 0
    """Rows inferred."""
    execution_count: int = 0
    """Runs of the model; smaller than `inference_count` where requests ran together."""
    inference_stats: InferenceStatistics = msgspec.field(default_factory=InferenceStatistics)
    response_stats: dict[str, int] = msgspec.field(default_factory=dict)
    batch_stats: list[BatchStatistics] = msgspec.field(default_factory=list)
    memory_usage: list[int] = msgspec.field(default_factory=list)

    def succeeded(
        self, rows: int, now_ms: int, queue_ns: int, infer_ns: int, wire_ns: tuple[int, int] = (0, 0)
    ) -> None:
        """Count a request that was answered; `wire_ns` is what decoding and encoding took."""
        self.last_inference = now_ms
        self.inference_count += rows
        stats = self.inference_stats
        stats.success.add(queue_ns + infer_ns + wire_ns[0] + wire_ns[1])
        stats.queue.add(queue_ns)
        stats.compute_input.add(wire_ns[0])
        stats.compute_infer.add(infer_ns)
        stats.compute_output.add(wire_ns[1])

    def failed(self, ns: int) -> None:
        """Count a request that was not answered with outputs."""
        self.inference_stats.fail.add(ns)

    def ran(self, rows: int, infer_ns: int) -> None:
        """Count a run of the model, of one request or of several together."""
        self.execution_count += 1
        batch = next((batch for batch in self.batch_stats if batch.batch_size == rows), None)
        if batch is None:
            batch = BatchStatistics(rows)
            self.batch_stats.append(batch)
        batch.compute_infer.add(infer_ns)
