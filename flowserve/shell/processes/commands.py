"""The commands that ask a running server: what they send, and what they print."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.text import columns
from flowserve.core.catalog.operations import Load, Point, Unload
from flowserve.core.wire.addresses import Address
from flowserve.core.wording import cut
from flowserve.shell.processes.control import State, Status, Stop, Use, ask

_MODEL = re.compile(r"(?P<name>[^@/]+)(?:(?:@|/versions/)(?P<version>[1-9][0-9]{0,17}))?")
_STOP_S_MAX = 120.0
_BUSIEST = 10
_USE = ("requests", "refused", "per s", "p50", "p99", "memory")


def load(address: Address, model: str) -> None:
    """`flowserve load`. Raises `Refused` FS107 and FS108, as all of these do."""
    name, version = _named(model)
    _show(ask(address, Load(name, version)), name)


def unload(address: Address, model: str) -> None:
    """`flowserve unload`."""
    name, version = _named(model)
    _show(ask(address, Unload(name, version)), name)


def point(address: Address, model: str, alias: str, version: int, remove: bool) -> None:
    """`flowserve alias` and `flowserve deploy`."""
    if (version < 1) != remove:
        refuse("FS107", "an alias needs either a version from 1 on or `--remove`")
    _show(ask(address, Point(model, alias, version)), model)


def show_models(address: Address, as_json: bool) -> None:
    """`flowserve models --running`."""
    state = ask(address, Status())
    if as_json:
        print(msgspec.json.encode(state.models).decode())
    else:
        print("\n".join(columns(_rows_in_use(state))))


def show_status(address: Address, as_json: bool) -> None:
    """`flowserve status`."""
    state = ask(address, Status())
    if as_json:
        print(msgspec.json.encode(state).decode())
        return
    ready = sum(row.state == "ready" for row in state.models)
    print(f"process {state.process}, for {state.up_s:.0f} s, generation {state.generation}")
    print(f"answering: {', '.join(map(str, state.processes)) or 'none yet'}; {state.restarts} started again")
    print(f"{ready} of {len(state.models)} versions ready, {state.waiting} operations wait")
    if state.use is not None:
        bound = f" of {_mb(state.memory_bytes)} at most" if state.memory_bytes else ""
        print(
            f"{state.connections} connections, {state.in_flight} requests in flight, "
            f"{_mb(state.resident_bytes)} of memory, {_mb(state.use.bytes)}{bound} for models"
        )
        for gpu in state.gpus:
            of = f" of {_mb(gpu.bytes)}" if gpu.bytes else ""
            used = _mb(state.use.gpu_bytes.get(gpu.space, 0))
            print(f"{gpu.space} ({gpu.name or 'unknown'}): {used}{of} for models")
        print(_sum(state.use))
        busiest = sorted(
            (row for row in state.models if row.use and row.use.requests + row.use.refused),
            key=lambda row: (-row.use.per_s, -row.use.requests, row.name) if row.use else (0, 0, row.name),
        )
        if busiest:
            print("busiest:" if len(busiest) > _BUSIEST else "asked:")
            shown = msgspec.structs.replace(state, models=busiest[:_BUSIEST])
            print(
                "\n".join(f"  {line}" for line in columns(_rows_in_use(shown, ("model", "version", *_USE))))
            )
    if state.events:
        print("last:")
    for event in state.events[-20:]:
        print(f"  {event}")


def stop(address: Address) -> None:
    """`flowserve stop`: returns when the server has ended."""
    state = ask(address, Stop())
    end = time.monotonic() + _STOP_S_MAX
    while _lives(state.process):
        if time.monotonic() > end:
            refuse("FS108", f"the server (process {state.process}) has not ended after {_STOP_S_MAX:.0f} s")
        time.sleep(0.02)


def _show(state: State, name: str) -> None:
    """What the server has of a model now."""
    rows = [row for row in state.models if row.name == name]
    print("\n".join(columns(_rows(msgspec.structs.replace(state, models=rows)))))
    for note in state.notes:
        print(note)


def _rows(state: State) -> Sequence[tuple[str, ...]]:
    head = ("model", "version", "state", "aliases", "")
    return [head] + [
        (row.name, str(row.version), row.state, ", ".join(row.aliases) or "-", row.reason)
        for row in state.models
    ]


def _rows_in_use(state: State, names: Sequence[str] = ()) -> Sequence[tuple[str, ...]]:
    """The same with what they were asked; of all columns, or of those with these names."""
    head = ("model", "version", "state", "aliases", *_USE, "")
    rows = [head]
    for row in state.models:
        use = row.use or Use()
        used = (str(use.requests), str(use.refused), _rate(use.per_s), _ms(use.p50_ms), _ms(use.p99_ms))
        aliases = ", ".join(row.aliases) or "-"
        parts = [_mb(use.bytes)] if use.bytes else []
        parts += [f"{_mb(count)} on {space}" for space, count in sorted(use.gpu_bytes.items())]
        memory = " + ".join(parts) or "-"
        rows.append((row.name, str(row.version), row.state, aliases, *used, memory, row.reason))
    kept = [head.index(name) for name in names or head]
    return [tuple(row[index] for index in kept) for row in rows]


def _sum(use: Use) -> str:
    latency = f", p50 {_ms(use.p50_ms)}, p99 {_ms(use.p99_ms)}" if use.p50_ms is not None else ""
    return f"{use.requests} requests answered, {use.refused} refused, {_rate(use.per_s)}/s now{latency}"


def _rate(per_s: float) -> str:
    return f"{per_s:.0f}" if per_s >= 10 or not per_s else f"{per_s:.1f}"


def _ms(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms * 1e3:.0f} us" if ms < 1 else f"{ms:.1f} ms" if ms < 1e3 else f"{ms / 1e3:.1f} s"


def _mb(count: int) -> str:
    return f"{count / 2**20:.1f} MB" if count < 10 * 2**20 else f"{count / 2**20:.0f} MB"


def _named(model: str) -> tuple[str, int]:
    found = _MODEL.fullmatch(model)
    if found is None:
        expected = "a name, NAME@VERSION or NAME/versions/VERSION"
        refuse("FS107", f"the model must be given as {expected}, got `{cut(model)}`")
    return found["name"], int(found["version"] or 0)


def _lives(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        with open(f"/proc/{process}/stat") as stat:  # a zombie waits for its parent only
            return stat.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
