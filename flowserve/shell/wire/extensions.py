"""Answers requests of Triton's extensions. Runs on the event loop; loading a model is answered later."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, assert_never

import msgspec

from flowc.plan.diagnostics import Refused, refuse
from flowc.plan.exposition import OPENMETRICS, TEXT
from flowserve.core.wire.answers import Answer, refusal
from flowserve.core.wire.extension_routes import (
    ExtensionRoute,
    LogSetting,
    Metrics,
    RepositoryIndex,
    RepositoryLoad,
    RepositoryUnload,
    SharedMemoryRegister,
    SharedMemoryStatus,
    SharedMemoryUnregister,
    Statistics,
    TraceSetting,
)
from flowserve.core.wire.settings import TRACE, LogSettings, changed_log, changed_trace, json_object
from flowserve.core.wording import cut, shown
from flowserve.shell.wire.board import Board
from flowserve.shell.wire.repository import Repository
from flowserve.shell.wire.shared_memory import SharedMemory

_log = logging.getLogger("flowserve")
_OFFSET_MAX = 2**62
_LOG = "log"


class Extensions:
    """The state that requests may change beside models: shared memory and log settings."""

    def __init__(self, repository: Repository, left: Path | None = None) -> None:
        """`left` is the server's folder for what requests leave with it; a process alone needs none."""
        regions, settings = (left / "regions", left / "settings") if left else (None, None)
        self.shared_memory = SharedMemory(Board(regions))
        self._repository = repository
        self._settings = Board(settings)
        _log.addFilter(lambda record: self._log_settings().logs(record.levelno))

    def answer(
        self, route: ExtensionRoute, body: bytes, local: bool, done: Callable[[Answer], None]
    ) -> Answer | None:
        """Answer now, or return None and call `done` later.

        `local` tells whether the client is on this host: only such a one may share memory. Raises `Refused`.
        """

        def ended(refused: Refused | None) -> None:
            done(refusal(refused) if refused else Answer())

        match route:
            case RepositoryIndex():
                ready_only = _flag(json_object(body), "ready")
                return _json([i for i in self._repository.index() if i.state == "READY" or not ready_only])
            case RepositoryLoad(name):
                self._repository.load(name, _parameters(body), ended)
                return None
            case RepositoryUnload(name):
                dependents = _flag(_parameters(body), "unload_dependents", "parameters.")
                self._repository.unload(name, dependents, ended)
                return None
            case Statistics(name, version):
                told = lambda stats: done(_json({"model_stats": stats}))  # noqa: E731
                self._repository.statistics(name, version, told)
                return None
            case Metrics(stages, openmetrics):
                content_type = OPENMETRICS if openmetrics else TEXT
                self._repository.metrics(
                    stages,
                    openmetrics,
                    lambda text: done(Answer(body=text, encoding="gzip", content_type=content_type)),
                )
                return None
            case SharedMemoryStatus(cuda, name):
                return _json([] if cuda and not name else self._memory(cuda, local).status(name))
            case SharedMemoryRegister(cuda, name):
                self._register(cuda, local, name, json_object(body))
                return Answer()
            case SharedMemoryUnregister(cuda, name):
                if not cuda:
                    self._memory(cuda, local).unregister(name)
                return Answer()
            case TraceSetting(change, name):
                if name and name not in {known.name for known in self._repository.index()}:
                    refuse("FS202", f"there is no model `{cut(name)}`")
                if change:
                    changed_trace(body)
                return _json(TRACE)
            case LogSetting(change):
                if change:
                    self._settings.put(_LOG, msgspec.json.encode(changed_log(self._log_settings(), body)))
                return _json(self._log_settings())
            case _:
                assert_never(route)

    def _log_settings(self) -> LogSettings:
        note = self._settings.get(_LOG)
        return msgspec.json.decode(note.text, type=LogSettings) if note else LogSettings()

    def _memory(self, cuda: bool, local: bool) -> SharedMemory:
        if cuda:
            refuse("FS231", "this server takes no CUDA shared memory; use system shared memory")
        if not local:
            refuse("FS231", "memory can be shared only by clients on the server's own host")
        return self.shared_memory

    def _register(self, cuda: bool, local: bool, name: str, body: dict[str, Any]) -> None:
        memory = self._memory(cuda, local)
        key, offset, size = body.get("key"), body.get("offset", 0), body.get("byte_size")
        if not isinstance(key, str):
            refuse("FS231", f"`key` must be a string, got {shown(key)}")
        memory.register(name, key, _bytes(offset, "offset"), _bytes(size, "byte_size"))


def _bytes(value: Any, at: str) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= _OFFSET_MAX:
        refuse("FS231", f"`{at}` must be a number of bytes, got {shown(value)}")
    return value


def _flag(values: dict[str, Any], name: str, at: str = "") -> bool:
    value = values.get(name, False)
    if not isinstance(value, bool):
        refuse("FS201", f"`{at}{name}` must be true or false, got {shown(value)}")
    return value


def _parameters(body: bytes) -> dict[str, Any]:
    parameters = json_object(body).get("parameters", {})
    if not isinstance(parameters, dict):
        refuse("FS201", f"`parameters` must be an object, got {shown(parameters)}")
    return parameters


def _json(value: Any) -> Answer:
    return Answer(body=msgspec.json.encode(value))
