"""What changes a running server: requests to its control socket, and its repository."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator
from typing import assert_never

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.models.catalog import Load, Point, Unload
from flowserve.core.wire.addresses import Address
from flowserve.shell.models.repository import write_aliases
from flowserve.shell.models.watch import Watch
from flowserve.shell.processes import control
from flowserve.shell.processes.control import Refusal, State, Status, Stop, line, model_rows, used
from flowserve.shell.processes.supervisor import Supervisor

_LOOK_S = 1.0
_LOOK_SHARE = 0.02  # looking takes at most so much of one core


class Admin:
    """Changes a server, one operation after the other."""

    def __init__(self, supervisor: Supervisor, watch: Watch, address: Address) -> None:
        self._supervisor = supervisor
        self._watch = watch
        self._address = address
        self._began = time.monotonic()

    @contextlib.asynccontextmanager
    async def administered(self) -> AsyncIterator[None]:
        """Answer requests and look at the repository meanwhile. Raises `Refused` FS108."""
        listener = control.listen(self._address)
        path = control.socket_path(self._address)
        self._supervisor.on_request = self._asked
        server = await asyncio.start_unix_server(self._converse, sock=listener, limit=control.LINE_BYTES_MAX)
        watching = asyncio.get_running_loop().create_task(self._watching())
        try:
            yield
        finally:
            watching.cancel()
            server.close()
            path.unlink(missing_ok=True)

    # The repository

    async def _watching(self) -> None:
        pause_s = _LOOK_S
        while True:
            await asyncio.sleep(pause_s)
            began = time.monotonic()
            await self._look()
            pause_s = max(_LOOK_S, (time.monotonic() - began) / _LOOK_SHARE)

    async def _look(self, name: str = "") -> list[Diagnostic]:
        refresh, problems = await asyncio.to_thread(self._watch.look, name)
        if refresh is not None:
            try:
                await self._supervisor.operate(refresh)
            except Refused as refused:
                problems += refused.diagnostics
        for problem in problems:
            self._supervisor.note(problem.message)
        return problems

    # Requests

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, ValueError):
            while text := await reader.readline():
                writer.write(line(await self._answer(text)))
                await writer.drain()
        writer.close()

    async def _answer(self, text: bytes) -> State | Refusal:
        try:
            request = control.read_request(text)
        except (msgspec.DecodeError, ValueError) as error:
            return Refusal((Diagnostic("FS108", f"the request is not one of this server's: {error}"),))
        try:
            state = self._state(await self._do(request))
            return await self._with_use(state) if isinstance(request, Status) else state
        except Refused as refused:
            return Refusal(refused.diagnostics)

    async def _asked(self, request: Load | Unload) -> tuple[Diagnostic, ...]:
        """Do what a client of a process asks for. What was not all done is a failure to it."""
        try:
            notes = await self._do(request)
        except Refused as refused:
            return refused.diagnostics
        return (Diagnostic("FS107", "; ".join(notes)),) if notes else ()

    async def _do(self, request: control.Request) -> list[str]:
        """Do what is asked; return what did not go as asked. Raises `Refused`."""
        match request:
            case Load(name=name):
                notes = await self._operate(request)
                # What was unloaded has lost its aliases; their file still has them.
                return notes + [problem.message for problem in await self._look(name)]
            case Unload():
                return await self._operate(request)
            case Point(name=name):
                notes = await self._operate(request)
                return notes + await asyncio.to_thread(self._keep_aliases, name)
            case Status():
                return []
            case Stop():
                self._supervisor.stop()
                return []
            case _:
                assert_never(request)

    async def _operate(self, operation: Load | Unload | Point) -> list[str]:
        """Look whether the model has changed on disk, then do it."""
        if problems := await self._look(operation.name):
            raise Refused(*problems)
        settled = await self._supervisor.operate(operation)
        failures = [reason for _, reason in sorted(settled.failed.items())]
        if not settled.done:
            message = "; ".join(failures) + "; nothing was changed"
            raise Refused(Diagnostic("FS107", message))
        return failures

    def _keep_aliases(self, name: str) -> list[str]:
        """Write the aliases where a restart finds them."""
        aliases = self._supervisor.catalog.models[name].aliases
        try:
            write_aliases(self._supervisor.repository / name, aliases)
        except OSError as error:
            return [f"the aliases of `{name}` are not kept after a restart: {error}"]
        return []

    async def _with_use(self, state: State) -> State:
        measure = await self._supervisor.measured()
        of = {(model.name, model.version): model for model in measure.models}
        rows = [
            msgspec.structs.replace(row, use=used(filter(None, [of.get((row.name, row.version))])))
            for row in state.models
        ]
        processes = measure.processes.values()
        return msgspec.structs.replace(
            state,
            models=rows,
            use=used(measure.models),
            connections=sum(process.connections for process in processes),
            in_flight=sum(process.in_flight for process in processes),
            resident_bytes=sum(process.resident_bytes for process in processes),
        )

    def _state(self, notes: list[str]) -> State:
        supervisor = self._supervisor
        return State(
            process=os.getpid(),
            generation=supervisor.catalog.generation,
            up_s=round(time.monotonic() - self._began, 1),
            processes=supervisor.pids(),
            restarts=supervisor.restarts,
            waiting=supervisor.waiting,
            models=model_rows(supervisor.catalog),
            events=list(supervisor.events),
            notes=notes,
        )
