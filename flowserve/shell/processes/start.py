"""`flowserve start`."""

from __future__ import annotations

import asyncio
import logging
import sys
from importlib.metadata import version
from pathlib import Path

from flowc.plan.diagnostics import refuse
from flowserve.core.models.catalog import Refresh
from flowserve.shell.models.repository import read_aliases, scan, stamps
from flowserve.shell.models.watch import Watch
from flowserve.shell.processes.admin import Admin
from flowserve.shell.processes.supervisor import Settings, Supervisor
from flowserve.shell.wire.listening import bind


def start_server(models: Path, host: str, port: int, processes: int) -> None:
    """Serve a repository until SIGTERM or Ctrl-C.

    Raises `Refused` FS101 to FS109 when that cannot be, and exits with 1 when requests were left unanswered.
    """
    if processes < 1:
        refuse("FS106", f"there must be at least one process, got {processes}")
    logging.basicConfig(format="flowserve: %(message)s", level=logging.INFO)
    folders = scan(models)
    aliases = {folder.name: read_aliases(folder) for folder in folders}
    found = Refresh(
        {folder.name: stamps(folder) for folder in folders},
        {name: of for name, of in aliases.items() if of is not None},
    )
    listener = bind(host, port)
    port = listener.getsockname()[1]
    supervisor = Supervisor(Settings(models, version("flow-toolchain"), processes), listener)

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
