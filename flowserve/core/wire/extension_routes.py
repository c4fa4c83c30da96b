"""Routes of Triton's extensions: repository, statistics, metrics, shared memory, trace and log settings.

An empty name means all of them, where the extension has that. Kept apart from the routes of the protocol
itself, which are looked at first.
"""

from __future__ import annotations

import msgspec


class RepositoryIndex(msgspec.Struct, frozen=True):
    """`POST /v2/repository/index`."""


class RepositoryLoad(msgspec.Struct, frozen=True):
    """`POST /v2/repository/models/NAME/load`."""

    name: str


class RepositoryUnload(msgspec.Struct, frozen=True):
    """`POST /v2/repository/models/NAME/unload`."""

    name: str


class Statistics(msgspec.Struct, frozen=True):
    """`GET /v2/models/stats` and `GET /v2/models/NAME[/versions/VERSION]/stats`."""

    name: str = ""
    version: str = ""


class Metrics(msgspec.Struct, frozen=True):
    """`GET /metrics`: all that is counted, for Prometheus. Without `stages` in fewer lines."""

    stages: bool = True
    openmetrics: bool = False


class SharedMemoryStatus(msgspec.Struct, frozen=True):
    """`GET /v2/{system,cuda}sharedmemory[/region/NAME]/status`."""

    cuda: bool
    name: str = ""


class SharedMemoryRegister(msgspec.Struct, frozen=True):
    """`POST .../region/NAME/register`."""

    cuda: bool
    name: str


class SharedMemoryUnregister(msgspec.Struct, frozen=True):
    """`POST /v2/{system,cuda}sharedmemory[/region/NAME]/unregister`."""

    cuda: bool
    name: str = ""


class TraceSetting(msgspec.Struct, frozen=True):
    """`GET` (read) or `POST` (change) `/v2[/models/NAME]/trace/setting`."""

    change: bool
    name: str = ""


class LogSetting(msgspec.Struct, frozen=True):
    """`GET` (read) or `POST` (change) `/v2/logging`."""

    change: bool


ExtensionRoute = (
    RepositoryIndex
    | RepositoryLoad
    | RepositoryUnload
    | Statistics
    | Metrics
    | SharedMemoryStatus
    | SharedMemoryRegister
    | SharedMemoryUnregister
    | TraceSetting
    | LogSetting
)


def find_extension(method: str, segments: list[str]) -> ExtensionRoute | None:
    """Return the route of a method (GET or POST) and the path's segments after `/v2/`."""
    match method, *segments:
        case "POST", "repository", "index":
            return RepositoryIndex()
        case "POST", "repository", "models", name, "load":
            return RepositoryLoad(name)
        case "POST", "repository", "models", name, "unload":
            return RepositoryUnload(name)
        case "GET", "models", "stats":
            return Statistics()
        case "GET", "models", name, "stats":
            return Statistics(name)
        case "GET", "models", name, "versions", version, "stats":
            return Statistics(name, version)
        case (("GET" | "POST"), "trace", "setting"):
            return TraceSetting(method == "POST")
        case (("GET" | "POST"), "models", name, "trace", "setting"):
            return TraceSetting(method == "POST", name)
        case (("GET" | "POST"), "logging"):
            return LogSetting(method == "POST")
        case _, ("systemsharedmemory" | "cudasharedmemory") as kind, *rest:
            return _find_memory(method, kind == "cudasharedmemory", rest)
        case _:
            return None


def _find_memory(method: str, cuda: bool, rest: list[str]) -> ExtensionRoute | None:
    match method, *rest:
        case "GET", "status":
            return SharedMemoryStatus(cuda)
        case "GET", "region", name, "status":
            return SharedMemoryStatus(cuda, name)
        case "POST", "unregister":
            return SharedMemoryUnregister(cuda)
        case "POST", "region", name, "unregister":
            return SharedMemoryUnregister(cuda, name)
        case "POST", "region", name, "register":
            return SharedMemoryRegister(cuda, name)
        case _:
            return None
