"""What a process has counted, for the supervisor."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence

import msgspec

from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.engine.tally import Tally
from flowserve.core.memory.tiers import Amounts
from flowserve.core.models.key import Key
from flowserve.core.models.seat import HOST
from flowserve.core.observe.measures import ModelMeasure, ProcessMeasure, measured
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.observe.observer import Observer
from flowserve.shell.observe.process import cpu_s, resident_bytes
from flowserve.shell.wire.http import Endpoint

_MEASURED_AT_ONCE = 20
_SETTLED_AT_ONCE = 500


def measures(
    table: Table,
    engine: LoopEngine,
    resident: Mapping[tuple[str, int], Amounts],
    wanted: Iterable[Key] | None = None,
) -> Iterator[list[ModelMeasure]]:
    """What was counted of models that were loaded or asked for, some at a time, or of those `wanted`.

    `resident` is in bytes.
    """
    only = None if wanted is None else set(wanted)
    versions = [
        version
        for version in table
        if (only is None or version.key in only)
        and (version.loads or (version.key.name, version.key.version) in engine.tallies)
    ]
    for start in range(0, len(versions), _MEASURED_AT_ONCE):
        yield [_measure(of, engine, resident) for of in versions[start : start + _MEASURED_AT_ONCE]]


def process_measure(endpoints: Sequence[Endpoint], observer: Observer | None) -> ProcessMeasure:
    """What was counted of the process as a whole."""
    return ProcessMeasure(
        os.getpid(),
        cpu_s(),
        resident_bytes(),
        connections=sum(endpoint.open_connections for endpoint in endpoints),
        in_flight=sum(endpoint.in_flight for endpoint in endpoints),
        answers={endpoint.protocol: dict(endpoint.answers) for endpoint in endpoints},
        logs=observer.logged if observer is not None else {},
    )


def settle_rates(engine: LoopEngine, now_s: float, start: int) -> int:
    """Bring rates up to date, of some models at a time from `start` on; return where to go on."""
    tallies = list(engine.tallies.values())
    end = start + _SETTLED_AT_ONCE
    for tally in tallies[start:end]:
        tally.look(now_s)
    return end if end < len(tallies) else 0


def _measure(
    version: Version, engine: LoopEngine, resident: Mapping[tuple[str, int], Amounts]
) -> ModelMeasure:
    key = (version.key.name, version.key.version)
    model = version.model
    return msgspec.structs.replace(
        measured(*key, engine.tallies.get(key) or Tally()),
        tier=version.tier,
        loads=version.loads,
        load_ms=version.load_ms,
        evictions=version.evictions,
        bytes=resident.get(key, {}).get(HOST, 0),
        gpu_bytes={space: count for space, count in resident.get(key, {}).items() if space != HOST},
        loaded=int(model is not None),
        waiting=engine.waiting(model) if model is not None else 0,
    )
