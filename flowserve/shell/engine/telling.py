"""What is learned, counted and told once a batch has run."""

from __future__ import annotations

from time import time

import msgspec

from flowc.plan.diagnostics import Refused
from flowserve.core.engine.batching import Batch
from flowserve.core.engine.tally import Tally
from flowserve.shell.engine.lanes import Lane
from flowserve.shell.engine.running import Ran, Result


def learn(lane: Lane, batch: Batch, ran: Ran) -> None:
    """Learn what a batch cost, and whether calls of its model can run together at all."""
    if ran.joined:
        lane.costs.observe(batch.rows, ran.ms)
        lane.tally.ran(batch.rows, ran.ms)
    else:
        ms = ran.ms / len(batch.entries)
        lane.costs.observe(batch.entries[0].rows, ms)
        for entry in batch.entries:
            lane.tally.ran(entry.rows, ms)
    if ran.apart:
        lane.joins = False
        lane.batcher.policy = msgspec.structs.replace(lane.batcher.policy, rows_max=0, preferred_rows=0)


def tell(tally: Tally, batch: Batch, ran: Ran) -> None:
    """Tell each call of a batch what came of it."""
    for entry, result in zip(batch.entries, ran.results, strict=True):
        call, queue_ms = entry.call, batch.began_ms - entry.arrived_ms
        count(tally, entry.rows, result, queue_ms, ran.ms)
        call.queue_ms, call.run_ms = queue_ms, ran.ms
        call.run_rows = batch.rows if ran.joined else entry.rows
        call.done(result)


def count(tally: Tally, rows: int, result: Result, queue_ms: float, ms: float) -> None:
    """Count a call that has waited and run."""
    if isinstance(result, Refused):
        tally.failure(queue_ms + ms)
    else:
        tally.success(rows, queue_ms, ms, time())
