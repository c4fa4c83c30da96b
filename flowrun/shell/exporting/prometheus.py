"""`flowrun metrics`: the project's runs in Prometheus' text format, for a textfile collector or a scrape.

Names follow its conventions: seconds and bytes, `_total` for what only grows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from flowc.plan.exposition import Metric, Sample, by, exposition, histogram, single
from flowrun.core.changes import Opened
from flowrun.core.search import STATES
from flowrun.core.tally import BOUNDS_S, Tally, count
from flowrun.shell.log.runlog import RunLog

_NODE_STATES = ("pending", "ready", "running", "succeeded", "failed", "blocked", "skipped", "cancelled")


def metrics(log: RunLog, now_ms: int) -> str:
    """All of it. Reads the whole log once; of runs that are going on, their state."""
    tally, runs = Tally(), Counter(dict.fromkeys(STATES, 0))
    nodes: Counter[str] = Counter(dict.fromkeys(_NODE_STATES, 0))
    oldest_ms, waiting, ended = now_ms, 0, 0.0
    for row, changes in log.readable():
        runs[row.status] += 1
        ended = max(ended, row.ended_ms / 1000)
        operators: dict[str, str] = {}
        for change in changes:
            if isinstance(change, Opened):
                operators |= {site.site: site.op for site in log.plan(change.plan).sites}
        count(tally, changes, operators)
        if row.status != "running":
            continue
        state = log.state_of(row.run)
        for task in state.tasks if state else ():
            nodes[task.state] += 1
            if task.state == "ready" and task.site.control == "none":
                waiting += 1
                oldest_ms = min(oldest_ms, task.ready_at_ms)
    gauges = [
        Metric("flowrun_runs", "gauge", "Runs by state.", by("state", runs)),
        Metric(
            "flowrun_nodes", "gauge", "Nodes of the runs that are going on, by state.", by("state", nodes)
        ),
        single("flowrun_queue_nodes", "gauge", "Nodes that are ready and wait for a place.", waiting),
        single(
            "flowrun_queue_oldest_seconds",
            "gauge",
            "How long the one that waits longest has waited.",
            (now_ms - oldest_ms) / 1000,
        ),
        single("flowrun_last_end_timestamp_seconds", "gauge", "When a run last ended; 0 if none has.", ended),
    ]
    return exposition([*gauges, *_counters(tally)])


def _counters(tally: Tally) -> Iterator[Metric]:
    outcomes = {"succeeded": 0, **tally.attempts}
    attempts = by("outcome", Counter(outcomes))
    about = "Attempts of nodes that ended, by outcome: the code of the failure, or that they succeeded."
    yield Metric("flowrun_attempts_total", "counter", about, attempts)
    yield single("flowrun_retries_total", "counter", "Attempts that were followed by another.", tally.retries)
    kept = "Nodes that did not run, as their result was there from before."
    yield single("flowrun_cache_hits_total", "counter", kept, tally.kept)
    yield single("flowrun_cpu_seconds_total", "counter", "CPU time of all attempts.", tally.cpu_s)
    samples: list[Sample] = []
    for operator, times in sorted(tally.durations.items()):
        samples += histogram({"operator": operator}, BOUNDS_S, times.counts, times.total)
    about = "Time of an attempt, from its start to its end, by operator."
    yield Metric("flowrun_attempt_duration_seconds", "histogram", about, samples)
