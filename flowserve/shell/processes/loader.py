"""What a process has in memory: loaded before a table that needs it serves, and let go after the last one."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from time import monotonic

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.members import is_bound
from flowserve.core.catalog.split import Split
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.engine.profile import Profile
from flowserve.core.memory.tiers import EAGER, PINNED, Amounts, Budget
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.providers import CUDA, INSTALL
from flowserve.core.models.seat import HOST, Seat
from flowserve.core.rollout.evidence import Evidence
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.loading import load_measured
from flowserve.shell.models.memory import Memory
from flowserve.shell.models.pipelines import bind, load_pipeline
from flowserve.shell.models.proving import refusal_of_missing
from flowserve.shell.models.seating import Seating
from flowserve.shell.models.seats import Seats
from flowserve.shell.models.serving import Serving
from flowserve.shell.models.sessions import available_providers
from flowserve.shell.models.weights import size_on_disk
from flowserve.shell.processes.messages import Begin, Failure, Prepare, Seen

_MEASURE_MS = 200.0
_MEASURE_COLD_MS = 20.0  # somebody waits
_PORTION_S = 0.02  # of loading, before somebody who waits for a model of theirs has a turn


class Loader:
    """Of one process. All methods run on its event loop; loading and letting go happen on one thread."""

    def __init__(
        self,
        begin: Begin,
        serving: Serving,
        engine: LoopEngine,
        note: Callable[[str], None] = lambda text: None,
    ) -> None:
        """`note` hears on the loop of what an operator should know, and nobody asked for."""
        self._loop = asyncio.get_running_loop()
        self._repository = Path(begin.repository)
        self._settings = begin.models
        self._serving = serving
        self._engine = engine
        self._threads = ThreadPoolExecutor(1, "loading")
        self._versions: dict[Key, Version] = {}
        self._seen: dict[tuple[str, str, int], Evidence] = {}
        self._halted: set[tuple[str, str, int]] = set()
        self._learned: list[tuple[Model, Profile]] = []
        """Of what was loaded, and the engine has not heard of."""
        self._note = note
        available = available_providers()
        if begin.gpus and CUDA not in available:
            note(f"a GPU is there, and this onnxruntime cannot compute on it: {INSTALL}")
        self._seats = Seats(begin.gpus, begin.models, available)
        self._size = partial(size_on_disk, self._repository, begin.models, begin.processes)
        bytes_of = {HOST: begin.memory_bytes} | {gpu.space: gpu.bytes for gpu in begin.gpus}
        budget = Budget(bytes_of, begin.grace_s)
        self._memory = Memory(self._load, self._size, budget, seats=self._seats)
        serving.lazily(self._load_for_request, self._threads)

    async def prepare(self, prepare: Prepare) -> list[Failure]:
        """Load what a table needs, so that it can be the next; return what did not load.

        What fails stands in the table without its model. The supervisor moves to such a table only where it
        had the version served before, by a process that is gone: then each request for it tries again.
        """
        new = [key for key in prepare.versions if key not in self._versions]
        latest = {key.name: version for key, version in sorted(self._versions.items())}
        for key in new:
            self._versions[key] = version = Version(key, tier=self._settings.of(key.name).tier)
            if key.name in latest:
                self._memory.succeed(version, latest[key.name])
        versions = [self._versions[key] for key in prepare.versions]
        pipelines = [key for key in new if is_bound(key.stamp)]
        if pipelines:
            table = Table(versions, prepare.aliases, failed=prepare.failed)
            await self._loop.run_in_executor(self._threads, self._bind, pipelines, table)
        failed = {self._versions[key]: refused for key in new if (refused := self._hopeless(key))}
        proven = set(prepare.proven)
        to_load = deque(sorted(versions, key=lambda version: is_bound(version.key.stamp)))
        while to_load:
            await self._loop.run_in_executor(self._threads, self._load_some, to_load, proven, failed)
        splits = self._splits(prepare)
        table = Table(versions, prepare.aliases, prepare.generation, splits, prepare.failed)
        self._serving.stage(table)
        self._serving.halt(self._halted)
        return [Failure(version.key, refused.diagnostics) for version, refused in failed.items()]

    async def forget(self) -> None:
        """Drop what the current table does not have; a request that holds such a model keeps it."""
        current = {version.key: version for version in self._serving.table}
        gone = [version for key, version in self._versions.items() if current.get(key) is not version]
        self._versions = current
        self._engine.retain((key.name, key.version) for key in current)
        if gone:
            await self._loop.run_in_executor(self._threads, self._drop, gone)

    def halt(self, name: str, alias: str, serial: int) -> None:
        """Give nothing more to the candidate of a rollout that is at this step."""
        self._halted.add((name, alias, serial))
        self._serving.halt(self._halted)

    def seen(self) -> list[Seen]:
        """What was seen of the rollouts of the current table."""
        splits = self._serving.table.splits
        return [Seen(of.name, of.alias, of.rollout.serial, of.evidence) for of in splits]

    def resident_bytes(self) -> dict[tuple[str, int], Amounts]:
        """How much memory each version has that has some, by name and version, in each space."""
        return {(of.key.name, of.key.version): of.bytes for of in self._memory.residents()}

    def look(self) -> None:
        """Take note of what was asked for since the last look."""
        self._memory.look(list(self._versions.values()))

    async def load_ahead(self) -> None:
        """Load what will be asked for, if there is something and it has room."""
        if (version := self._memory.ahead()) is not None:
            await self._loop.run_in_executor(self._threads, self._load_ahead, version)

    def _hopeless(self, key: Key) -> Refused | None:
        """Why a version never comes: told at once, also of what is loaded when it is asked for."""
        if (refused := self._seats.refusal(key)) is not None:
            return refused
        waits = self._versions[key].tier > EAGER and not is_bound(key.stamp)
        return refusal_of_missing(self._repository, key) if waits else None

    def _bind(self, pipelines: list[Key], table: Table) -> None:
        for key in pipelines:
            self._versions[key].members = bind(self._repository, key, table)

    def _load_some(self, versions: deque[Version], proven: set[Key], failed: dict[Version, Refused]) -> None:
        """Load the first of some versions; others may have the thread after that. Runs on the loading thread.

        Not one by one: the way to the thread and back can take as long as it takes to load a small model.
        """
        ends_s = monotonic() + _PORTION_S
        while versions and monotonic() < ends_s:
            version = versions.popleft()
            if version.model is not None or version in failed:
                continue
            if self._eager(version, version.key in proven):
                outcome = self._loaded(version, failed)
                if isinstance(outcome, Refused):
                    failed[version] = outcome
        self._tell_engine()

    def _loaded(self, version: Version, failed: Mapping[Version, Refused]) -> Model | Refused:
        """Load a version, unless a member of it has failed: that might go well a second time."""
        if not isinstance(version.members, Refused):
            for member in version.members:
                if member in failed:
                    return failed[member]
        return self._memory.load(version)

    def _splits(self, prepare: Prepare) -> list[Split]:
        """Where rollouts part requests. What was seen of a step goes on being counted in every table."""
        serving = {(key.name, key.version): self._versions[key] for key in prepare.versions}
        seen: dict[tuple[str, str, int], Evidence] = {}
        splits = []
        for name, of in prepare.rollouts.items():
            for alias, rollout in of.items():
                evidence = self._seen.get((name, alias, rollout.serial)) or Evidence()
                seen[name, alias, rollout.serial] = evidence
                sides = serving[name, rollout.stable], serving[name, rollout.candidate]
                splits.append(Split(name, alias, rollout, *sides, evidence))
        self._seen = seen
        self._halted &= set(seen)
        return splits

    def _eager(self, version: Version, proven: bool) -> bool:
        """Whether a version is loaded before anybody asks for it."""
        return proven or version.tier <= PINNED or (version.tier <= EAGER and self._memory.fits(version))

    def _load(self, version: Version, seat: Seat) -> Model:
        """Load a version, whose members are in memory. Runs on the loading thread."""
        self._seats.require(version.key)
        settings = self._settings.of(version.key.name)
        if is_bound(version.key.stamp):
            assert not isinstance(version.members, Refused)
            members = [member.model for member in version.members if member.model is not None]
            model, profile = load_pipeline(self._repository, version.key, settings, members), Profile()
        else:
            budget_ms = _MEASURE_MS if settings.tier <= EAGER else _MEASURE_COLD_MS
            seating = None
            if seat.on_gpu:
                size = self._size(version.key)
                seating = Seating(seat, self._seats.gpu(seat.space), size.private + size.shared)
            model, profile = load_measured(self._repository, version.key, settings, budget_ms, seating)
            if model.seat.reason:
                text = f"{version.key} computes on the CPU: {model.seat.reason}"
                self._loop.call_soon_threadsafe(self._note, text)
        self._learned.append((model, profile))
        return model

    def _load_for_request(self, version: Version) -> Model | Refused:
        """Runs on the loading thread."""
        try:
            return self._memory.load(version)
        finally:
            self._tell_engine()

    def _load_ahead(self, version: Version) -> None:
        """Runs on the loading thread."""
        self._memory.load_ahead(version)
        self._tell_engine()

    def _tell_engine(self) -> None:
        """Have the engine adopt what was loaded, before who waits for it hears. Runs on the loading thread.

        Not one by one: the loop would want the interpreter while the next model is loaded, each time.
        """
        learned, self._learned = self._learned, []
        if learned:
            self._loop.call_soon_threadsafe(self._adopt, learned)

    def _adopt(self, learned: list[tuple[Model, Profile]]) -> None:
        for model, profile in learned:
            self._engine.adopt(model, profile)

    def _drop(self, versions: list[Version]) -> None:
        """Runs on the loading thread."""
        for version in versions:
            self._memory.drop(version)
        self._memory.trim()
