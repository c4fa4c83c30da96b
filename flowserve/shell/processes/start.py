"""`flowserve start`."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowserve.core.config import Config, parse_config
from flowserve.core.models.catalog import Refresh
from flowserve.shell.models.repository import read_aliases, scan, stamps
from flowserve.shell.models.watch import Watch
from flowserve.shell.processes.admin import Admin
from flowserve.shell.processes.supervisor import Settings, Supervisor
from flowserve.shell.wire.listening import bind

_DRAIN_S = 10.0


def configured(file: Path | None, options: Mapping[str, Any]) -> Config:
    """Return what a file says, if one is named, and the options that are not None.

    Raises `Refused` FS106.
    """
    config = Config()
    if file is not None:
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            refuse("FS106", f"the configuration cannot be read: {reason.lower()}", Place(str(file)))
        names: tuple[str, ...] = ()
        if "limits" in text:
            from flowserve.shell.wire.connection import Limits

            names = Limits.__struct_fields__
        config = parse_config(text, str(file), names)
    given = {name: value for name, value in options.items() if value is not None}
    if given.get("processes", 1) < 1:
        refuse("FS106", f"there must be at least one process, got {given['processes']}")
    return msgspec.structs.replace(config, **given)


def start_server(config: Config, host: str, port: int) -> None:
    """Serve a repository until SIGTERM or Ctrl-C.

    Raises `Refused` FS101 to FS109 when that cannot be, and exits with 1 when requests were left unanswered.
    """
    models = Path(config.models)
    logging.basicConfig(format="flowserve: %(message)s", level=logging.INFO)
    folders = scan(models)
    aliases = {folder.name: read_aliases(folder) for folder in folders}
    found = Refresh(
        {folder.name: stamps(folder) for folder in folders},
        {name: of for name, of in aliases.items() if of is not None},
    )
    listener = bind(host, port)
    port = listener.getsockname()[1]
    drain_s = config.limits.get("drain_s", _DRAIN_S)
    settings = Settings(
        repository=models,
        server_version=version("flow-toolchain"),
        processes=config.processes,
        drain_s=drain_s,
        limits=config.limits,
        tier=config.tier,
        tiers=config.tiers,
        memory_mb=config.memory_mb,
        grace_s=config.grace_s,
    )
    supervisor = Supervisor(settings, listener)

    def announce(rows: list[str]) -> None:
        for row in rows:
            print(row)
        print(f"listening on http://{_written(host, port)}", flush=True)

    async def serve() -> bool:
        async with Admin(supervisor, Watch(models, folders), port).administered():
            return await supervisor.run(found, announce)

    if not asyncio.run(serve()):
        print("stopped before every request was answered", file=sys.stderr, flush=True)
        sys.exit(1)


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
