"""`flowrun trace`: a run in Chrome's Trace Event Format, for ui.perfetto.dev and chrome://tracing.

Tracks, as processes with threads: the workers (an attempt is in the lowest slot that is free), each GPU, what
waited, and what operators logged. The format: "Trace Event Format", Google, docs.google.com/document/d/
1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU: `X` is a complete slice, `b` and `e` begin and end one that may
overlap others, `s` and `f` are the ends of an arrow, `C` a counter, `i` an instant, `M` names a track.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from flowrun.core.model import Capacity
from flowrun.core.trace import Slice, Trace

_WORKERS, _GPUS, _WAITS, _LOGGED = 1, 2, 3, 4
_NAMES = {_WORKERS: "workers", _GPUS: "GPUs", _WAITS: "waits", _LOGGED: "logged"}
_MOST_FLOWS = 200_000  # arrows: with more, nobody sees anything
_LEAST_WAIT_MS = 1

Event = dict[str, Any]


def encode(run: str, workflow: str, traced: Trace, capacity: Capacity) -> bytes:
    """The file. Times in it begin at the run's."""
    told = {"run": run, "workflow": workflow, "began_ms": traced.begin_ms}
    if len(traced.flows) > _MOST_FLOWS:
        told["left_out"] = f"{len(traced.flows)} dependencies"
    events = list(_events(traced, capacity))
    return msgspec.json.encode({"traceEvents": events, "displayTimeUnit": "ms", "otherData": told})


def _events(traced: Trace, capacity: Capacity) -> Iterator[Event]:
    yield from _tracks(traced, capacity)
    for ran in traced.slices:
        yield from _slice(traced, ran)
    for number, ran in enumerate(traced.slices):
        yield from _wait(traced, number, ran)
    if len(traced.flows) <= _MOST_FLOWS:
        for number, (first, second) in enumerate(traced.flows):
            yield from _flow(traced, number, traced.slices[first], traced.slices[second])
    for moment in traced.moments:
        at = {"ph": "C", "pid": _WORKERS, "ts": _us(traced, moment.at_ms)}
        yield {**at, "name": "nodes", "args": {"running": moment.running, "ready": moment.ready}}
        yield {**at, "name": "CPUs held", "args": {"CPUs": moment.cpus}}
        yield {**at, "name": "memory held (MB)", "args": {"MB": moment.memory_mb}}
    yield from _logged(traced)


def _tracks(traced: Trace, capacity: Capacity) -> Iterator[Event]:
    """The names of the tracks, and their order."""
    gpus = {gpu.index: gpu.name for gpu in capacity.gpus}
    slots = max((ran.slot for ran in traced.slices), default=-1) + 1
    threads = [(_WORKERS, slot, f"slot {slot}") for slot in range(slots)]
    shared = sorted({item for ran in traced.slices for item in ran.lanes.items()})
    threads += [
        (_GPUS, _gpu_track(gpu, lane), f"GPU {gpu}: {gpus.get(gpu, '')}{f' ({lane + 1})' if lane else ''}")
        for gpu, lane in shared
    ]
    for pid in (_WORKERS, *([_GPUS] if gpus else []), _WAITS, _LOGGED):
        yield {"ph": "M", "pid": pid, "name": "process_name", "args": {"name": _NAMES[pid]}}
        yield {"ph": "M", "pid": pid, "name": "process_sort_index", "args": {"sort_index": pid}}
    for pid, tid, name in threads:
        yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_name", "args": {"name": name}}
        yield {"ph": "M", "pid": pid, "tid": tid, "name": "thread_sort_index", "args": {"sort_index": tid}}


def _slice(traced: Trace, ran: Slice) -> Iterator[Event]:
    """An attempt on its slot, in it the time of its own process; and on each GPU that it held."""
    common = {"ph": "X", "name": ran.node, "cat": ran.op, "ts": _us(traced, ran.start_ms)}
    common |= {"dur": 1000 * (ran.end_ms - ran.start_ms), "args": _told(ran)}
    if ran.failure is not None:
        common["cname"] = "terrible"
    yield {**common, "pid": _WORKERS, "tid": ran.slot}
    if ran.own_ms:
        began = ran.end_ms - ran.own_ms
        inner = {"ts": _us(traced, began), "dur": 1000 * ran.own_ms, "name": "process", "cat": "process"}
        yield {"ph": "X", "pid": _WORKERS, "tid": ran.slot, **inner}
    for gpu, lane in ran.lanes.items():
        yield {**common, "pid": _GPUS, "tid": _gpu_track(gpu, lane)}


def _gpu_track(gpu: int, lane: int) -> int:
    """Slices of a track must not overlap: those that share a GPU have one each."""
    return 1000 * gpu + lane


def _told(ran: Slice) -> dict[str, Any]:
    """What a click on a slice shows."""
    used, placement = ran.usage, ran.placement
    told: dict[str, Any] = {"attempt": ran.attempt, "CPUs": placement.cpus, "operator": ran.op}
    told |= {"memory requested (MB)": placement.memory_mb} if placement.memory_mb else {}
    told |= {"GPUs": list(placement.gpus)} if placement.gpus else {}
    if not ran.over:
        return {**told, "state": "running"}
    told |= {"CPU time (ms)": used.cpu_ms, "peak memory (MB)": used.peak_mb}
    if ran.artifact is not None:
        told |= {"artifact": ran.artifact.hash, "bytes": ran.artifact.bytes}
    if ran.failure is not None:
        told |= {"failure": f"[{ran.failure.code}] {ran.failure.message}"}
    return told


def _wait(traced: Trace, number: int, ran: Slice) -> Iterator[Event]:
    if ran.start_ms - ran.ready_ms >= _LEAST_WAIT_MS:
        common = {"pid": _WAITS, "tid": 0, "cat": "wait", "name": ran.node, "id": number}
        yield {**common, "ph": "b", "ts": _us(traced, ran.ready_ms)}
        yield {**common, "ph": "e", "ts": _us(traced, ran.start_ms)}


def _flow(traced: Trace, number: int, first: Slice, second: Slice) -> Iterator[Event]:
    """An arrow from within one slice to the beginning of another."""
    common = {"cat": "dependency", "name": "needs", "id": number, "pid": _WORKERS}
    ends = max(_us(traced, first.start_ms), _us(traced, first.end_ms) - 1)
    yield {**common, "ph": "s", "ts": ends, "tid": first.slot}
    yield {**common, "ph": "f", "bp": "e", "ts": _us(traced, second.start_ms), "tid": second.slot}


def _logged(traced: Trace) -> Iterator[Event]:
    """Metrics as counters, notes as instants."""
    for logged in traced.logged:
        for point in logged.points:
            if not isinstance(point.value, str):
                name = f"{logged.node}: {point.name}"
                at = {"ph": "C", "pid": _LOGGED, "ts": _us(traced, point.at_ms)}
                yield {**at, "name": name, "args": {point.name: point.value}}
        for note in logged.notes:
            at = {"ph": "i", "s": "p", "pid": _LOGGED, "tid": 0, "ts": _us(traced, logged.at_ms)}
            yield {**at, "name": note[:200], "cat": logged.node}


def _us(traced: Trace, at_ms: int) -> int:
    return 1000 * max(0, at_ms - traced.begin_ms)
