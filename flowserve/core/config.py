"""The server's configuration: a TOML file, checked whole before anything is started."""

from __future__ import annotations

import re
import tomllib
from difflib import get_close_matches
from typing import Annotated, Any

import msgspec

from flowc.plan.diagnostics import Label, Place, Refused, refuse
from flowserve.core.models.rollout import Plan, checked

Positive = Annotated[float, msgspec.Meta(gt=0)]
Tier = Annotated[int, msgspec.Meta(ge=1, le=4)]


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file may say; docs/serving.md explains each. Options of the command line go before it."""

    models: str = "models"
    http: str = "127.0.0.1:8000"
    grpc: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    tokens: str = ""
    trust_network: bool = False
    model_control: bool = False
    batching: bool = True
    processes: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    tier: Tier = 2
    tiers: dict[str, Tier] = {}
    """By the names of models."""
    memory_mb: Annotated[int, msgspec.Meta(ge=0)] = 0
    grace_s: Annotated[float, msgspec.Meta(ge=0)] = 300.0
    rollout: Plan = Plan()
    """What rollouts are like whose settings nobody gives."""
    limits: dict[str, Any] = {}
    """By the names of `Limits`, which is not imported here: it brings numpy along."""


def parse_config(text: str, file: str, limits: tuple[str, ...]) -> Config:
    """Read a configuration, in which `limits` are the names that `[limits]` may have.

    Raises `Refused` FS106 with the line that is wrong.
    """
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        found = re.search(r" \(at line (\d+), column (\d+)\)", str(error))
        line, column = (int(found[1]), int(found[2])) if found else (text.count("\n") + 1, 0)
        reason = str(error).partition(" (at ")[0]
        refuse("FS106", f"the configuration is not TOML: {reason}", Place(file, line, column, column + 1))
    try:
        config = msgspec.convert(values, Config)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `")
        keys = [key for key in path.rstrip("`").removeprefix("key in ").removeprefix("$").split(".") if key]
        keys = [key.partition("[")[0] for key in keys]
        names = Plan.__struct_fields__ if keys == ["rollout"] else Config.__struct_fields__
        _refuse(text, file, reason, keys, names)
    try:
        checked(config.rollout)
    except Refused as refused:
        _refuse(text, file, refused.diagnostics[0].message, ["rollout", "steps"], ())
    for name in config.limits:
        if name not in limits:
            _refuse(text, file, f"Object contains unknown field `{name}`", ["limits"], limits)
    return config


def _refuse(text: str, file: str, reason: str, keys: list[str], names: tuple[str, ...]) -> Any:
    """Say in our words what msgspec found at a path of keys."""
    unknown = re.fullmatch(r"Object contains unknown field `(.*)`", reason)
    if unknown:
        keys = [*keys, unknown[1]]
        near = get_close_matches(unknown[1], names, 1)
        message = f"there is no setting `{'.'.join(keys)}`"
        hint = f"`{near[0]}` is one" if near else f"there are {', '.join(f'`{name}`' for name in names)}"
    else:
        message = f"`{'.'.join(keys)}` is wrong: {reason[:1].lower()}{reason[1:]}"
        hint = ""
    refuse("FS106", message, Label(_place(text, file, keys)), hint=hint)


def _place(text: str, file: str, keys: list[str]) -> Place:
    """Where a key stands, as far as its lines are written in the usual way: `[table]`, then `key = value`."""
    table: list[str] = []
    for number, line in enumerate(text.splitlines(), 1):
        if header := re.match(r"\s*\[([^\[\]]+)\]", line):
            table = [part.strip(" \"'") for part in header[1].split(".")]
            if table == keys:
                return Place(file, number)
        elif (entry := re.match(r"\s*([\w.\"'-]+)\s*=", line)) and [
            *table,
            *(part.strip("\"'") for part in entry[1].split(".")),
        ] == keys:
            return Place(file, number, entry.start(1) + 1, len(line) + 1)
    return Place(file)
