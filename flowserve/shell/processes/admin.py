"""What changes a running server: requests to its control socket, and its repository."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import assert_never

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.catalog.catalog import Catalog
from flowserve.core.catalog.operations import Load, Point, Unload
from flowserve.core.catalog.rolling import EndRollout, Rolling, RollOut, Step
from flowserve.core.rollout.plan import Plan, planned
from flowserve.core.wire.addresses import Address
from flowserve.shell.models.aliases import write_aliases, write_rollouts
from flowserve.shell.models.watch import Watch
from flowserve.shell.processes import control
from flowserve.shell.processes.control import (
    FinishRollout,
    Refusal,
    StartRollout,
    State,
    Status,
    Stop,
    line,
    model_rows,
    used,
)
from flowserve.shell.processes.rollouts import Rollouts
from flowserve.shell.processes.supervisor import Supervisor

_LOOK_S = 1.0
_LOOK_SHARE = 0.02  # looking takes at most so much of one core


class Admin:
    """Changes a server, one operation after the other."""

    def __init__(self, supervisor: Supervisor, watch: Watch, address: Address, plan: Plan) -> None:
        """`plan` is what rollouts are like whose settings nobody gives."""
        self._supervisor = supervisor
        self._served = supervisor.served
        self._plan = plan
        self._rollouts = Rollouts(supervisor, self._operate)
        self._watch = watch
        self._address = address
        self._began = time.monotonic()

    @contextlib.asynccontextmanager
    async def administered(self) -> AsyncIterator[None]:
        """Answer requests and look at the repository meanwhile. Raises `Refused` FS108."""
        listener = control.listen(self._address)
        path = control.socket_path(self._address)
        left = control.left_path(self._address)
        shutil.rmtree(left, ignore_errors=True)  # of a server that was killed
        left.mkdir(mode=0o700)
        self._supervisor.on_request = self._asked
        server = await asyncio.start_unix_server(self._converse, sock=listener, limit=control.LINE_BYTES_MAX)
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(work) for work in (self._watching(), self._rollouts.judging())]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            server.close()
            path.unlink(missing_ok=True)
            shutil.rmtree(left, ignore_errors=True)

    # The repository

    async def _watching(self) -> None:
        pause_s, tidy = _LOOK_S, False
        while True:
            await asyncio.sleep(pause_s)
            if not tidy and self._served.catalog.generation:
                tidy = True
                await self._forget_rollouts()
            with contextlib.suppress(Refused):  # too many wait: the next look sees
                async with self._served.turn():
                    await self._look()
            pause_s = max(_LOOK_S, self._watch.cpu_s / _LOOK_SHARE)

    async def _forget_rollouts(self) -> None:
        """Remove what an earlier server has left of rollouts that cannot go on."""
        async with self._served.turn():
            catalog, repository = self._served.catalog, self._supervisor.repository
            for name in set(catalog.models) - set(catalog.rollouts()):
                with contextlib.suppress(OSError):
                    await asyncio.to_thread(write_rollouts, repository / name, {})

    async def _look(self, name: str = "") -> list[Diagnostic]:
        """Follow the repository. Within a turn: else aliases could be read that are about to be written."""
        before = self._served.catalog
        refresh, problems = await asyncio.to_thread(self._watch.look, name)
        if refresh is not None:
            try:
                await self._served.operate(refresh)
            except Refused as refused:
                problems += refused.diagnostics
            for note in await self._keep(before):
                self._supervisor.note(note)
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
            case Load() | Unload() | Point():
                return await self._operate(request)
            case StartRollout(name, version, alias, settings):
                plan = planned(self._plan, settings)
                return await self._operate(RollOut(name, alias, version, plan))
            case FinishRollout(name, alias, promote):
                reason = "promoted by hand" if promote else "aborted by hand"
                return await self._operate(EndRollout(name, alias, promote, 0, reason))
            case Status():
                return []
            case Stop():
                self._supervisor.stop()
                return []
            case _:
                assert_never(request)

    async def _operate(self, operation: Load | Unload | Point | Rolling) -> list[str]:
        """Look whether the model has changed on disk, then do it. Raises `Refused`."""
        async with self._served.turn():
            # What a rollout comes to depends on what serves, not on what lies on the disk meanwhile.
            if not isinstance(operation, Step | EndRollout) and (
                problems := await self._look(operation.name)
            ):
                raise Refused(*problems)
            before = self._served.catalog
            settled = await self._served.operate(operation)
            failures = [reason for _, reason in sorted(settled.failed.items())]
            if not settled.done:
                message = "; ".join(failures) + "; nothing was changed"
                raise Refused(Diagnostic("FS107", message))
            if isinstance(operation, Load):
                # What was unloaded has lost its aliases; their file still has them.
                failures += [problem.message for problem in await self._look(operation.name)]
            aliases = isinstance(operation, Point | EndRollout)
            return failures + await self._keep(before, operation.name if aliases else "")

    async def _keep(self, before: Catalog, moved: str = "") -> list[str]:
        """Write where a restart finds them the aliases of a model, and rollouts that have changed.

        Returns what could not be written.
        """
        after, notes = self._served.catalog, []
        was, now = before.rollouts(), after.rollouts()
        files: list[tuple[str, Callable[[], None]]] = []
        # First the alias: a rollout from a version that it no longer names is over.
        if moved and moved in after.models:
            folder = self._supervisor.repository / moved
            files.append((moved, partial(write_aliases, folder, after.models[moved].aliases)))
        for name in sorted({*was, *now}):
            folder = self._supervisor.repository / name
            if was.get(name) != now.get(name) and (folder.is_dir() or name in now):
                files.append((name, partial(write_rollouts, folder, now.get(name, {}))))
        for name, write in files:
            try:
                await asyncio.to_thread(write)
            except OSError as error:
                notes.append(f"what was changed of `{name}` is not kept after a restart: {error}")
        return notes

    async def _with_use(self, state: State) -> State:
        measure = await self._supervisor.totals.measured()
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
            generation=supervisor.served.catalog.generation,
            up_s=round(time.monotonic() - self._began, 1),
            processes=supervisor.pids(),
            restarts=supervisor.restarts,
            waiting=supervisor.served.waiting,
            models=model_rows(supervisor.served.catalog),
            events=list(supervisor.events),
            memory_bytes=supervisor.memory_bytes,
            gpus=supervisor.gpus,
            rollouts=self._rollouts.rows(),
            past_rollouts=self._rollouts.past(),
            notes=notes,
        )
