"""A process that answers requests: it has in memory what the supervisor says, and serves it.

python -m flowserve.shell.processes.worker LISTENER CHANNEL WORD       three inherited descriptors
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from flowc.plan.diagnostics import Refused
from flowserve.core.models.key import Key
from flowserve.core.models.table import Table, Version
from flowserve.core.models.tiers import EAGER, PINNED, Budget
from flowserve.shell.models.loading import load_proven
from flowserve.shell.models.memory import Memory, disk_bytes
from flowserve.shell.models.serving import Serving
from flowserve.shell.processes import generation
from flowserve.shell.processes.messages import (
    Begin,
    Failure,
    Listening,
    Moved,
    Prepare,
    Prepared,
    Serve,
    ToSupervisor,
    line,
    read_for_worker,
)
from flowserve.shell.wire.connection import Limits
from flowserve.shell.wire.http import serve

_LINE_BYTES_MAX = 256 * 2**20
_LOOK_S = 1.0


def main() -> None:
    """Entry point."""
    listener, channel, word = map(int, sys.argv[1:])
    worker = Worker(socket.socket(fileno=listener), generation.attach(word))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        finished = runner.run(worker.run(socket.socket(fileno=channel)))
    sys.stderr.flush()
    os._exit(0 if finished else 1)  # a model that still runs would keep the process


class Worker:
    """A process of a server."""

    def __init__(self, listener: socket.socket, word: memoryview) -> None:
        self._listener = listener
        self._serving = Serving(Table([]), word)
        self._versions: dict[Key, Version] = {}
        self._begin = Begin("", "")
        self._threads = ThreadPoolExecutor(1, "loading")
        self._serve: asyncio.Task[bool] | None = None

    async def run(self, channel: socket.socket) -> bool:
        """Do what the supervisor says until it is gone or sends a signal.

        Returns whether all requests were answered.
        """
        reader, self._writer = await asyncio.open_unix_connection(sock=channel, limit=_LINE_BYTES_MAX)
        looking = asyncio.get_running_loop().create_task(self._looking())
        listening = asyncio.get_running_loop().create_task(self._listen(reader))
        await listening
        looking.cancel()
        return await self._serve if self._serve else True

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while text := await reader.readline():
            match read_for_worker(text):
                case Begin() as begin:
                    self._begin = begin
                    repository = Path(begin.repository)
                    self._memory = Memory(
                        partial(load_proven, repository),
                        partial(disk_bytes, repository),
                        Budget(begin.memory_bytes, begin.grace_s),
                    )
                    self._serving.lazily(self._memory.load, self._threads)
                case Prepare() as prepare:
                    await self._prepare(prepare)
                case Serve():
                    self._serve = asyncio.get_running_loop().create_task(self._accept())
                case Moved():
                    await self._forget()
        # The supervisor is gone, in whatever way: what was begun is finished.
        if self._serve and not self._serve.done():
            os.kill(os.getpid(), signal.SIGTERM)

    async def _accept(self) -> bool:
        limits = msgspec.convert(self._begin.limits, Limits)
        models = [
            f"{version.key.name}  version {version.key.version}  "
            f"{version.model.signature if version.model else 'when it is asked for'}"
            for version in self._serving.table
        ]
        on_listening = lambda: self._tell(Listening(models))  # noqa: E731
        finished = await serve(
            self._serving, self._listener, self._begin.server_version, limits, on_listening
        )
        self._writer.close()  # ends `run`
        return finished

    async def _prepare(self, prepare: Prepare) -> None:
        """Load what is missing on a thread, so that requests are answered meanwhile.

        What fails stands in the table without its model. The supervisor moves to such a table only where it
        had the version served before, by a process that is gone: then each request for it tries again.
        """
        loop = asyncio.get_running_loop()
        failures: list[Failure] = []
        proven = set(prepare.proven)
        for key in prepare.versions:
            version = self._versions.get(key)
            if version is None:
                tier = self._begin.tiers.get(key.name, self._begin.tier)
                version = self._versions[key] = Version(key, tier=tier)
            if version.model is not None or not self._eager(version, key in proven):
                continue
            outcome = await loop.run_in_executor(self._threads, self._memory.load, version)
            if isinstance(outcome, Refused):
                failures.append(Failure(key, outcome.diagnostics))
        versions = [self._versions[key] for key in prepare.versions]
        self._serving.stage(Table(versions, prepare.aliases, prepare.generation))
        self._tell(Prepared(prepare.generation, failures))

    def _eager(self, version: Version, proven: bool) -> bool:
        """Whether a version is loaded before anybody asks for it."""
        return proven or version.tier <= PINNED or (version.tier <= EAGER and self._memory.fits(version))

    async def _forget(self) -> None:
        """Drop what the current table does not have; a request that holds such a model keeps it."""
        current = {version.key: version for version in self._serving.table}
        gone = [version for key, version in self._versions.items() if current.get(key) is not version]
        self._versions = current
        if gone:
            await asyncio.get_running_loop().run_in_executor(self._threads, self._drop, gone)

    def _drop(self, versions: list[Version]) -> None:
        """Runs on the loading thread."""
        for version in versions:
            self._memory.forget(version)
        self._memory.trim()

    async def _looking(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            self._memory.look()

    def _tell(self, message: ToSupervisor) -> None:
        self._writer.write(line(message))


if __name__ == "__main__":
    main()
