"""The commands that ask a running server: what they send, and what they print."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Sequence

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.text import columns
from flowserve.core.models.catalog import Load, Point, Unload
from flowserve.core.wire.addresses import Address
from flowserve.core.wording import cut
from flowserve.shell.processes.control import State, Status, Stop, ask

_MODEL = re.compile(r"(?P<name>[^@/]+)(?:(?:@|/versions/)(?P<version>[1-9][0-9]{0,17}))?")
_STOP_S_MAX = 120.0


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
        print("\n".join(columns(_rows(state))))


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
