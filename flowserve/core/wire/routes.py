"""What an HTTP request asks: the routes of the Open Inference Protocol v2 and of Triton's extensions."""

from __future__ import annotations

import functools
import re
from typing import NoReturn
from urllib.parse import unquote

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.wire.extension_routes import ExtensionRoute, Metrics, find_extension
from flowserve.core.wording import cut

_KEPT_BYTES_MAX = 256
_ABSOLUTE = re.compile(r"\Ahttps?://[^/]*", re.IGNORECASE)


class ServerLive(msgspec.Struct, frozen=True):
    """`GET /v2/health/live`."""


class ServerReady(msgspec.Struct, frozen=True):
    """`GET /v2/health/ready`."""


class ServerMetadata(msgspec.Struct, frozen=True):
    """`GET /v2`."""


class ModelMetadata(msgspec.Struct, frozen=True):
    """`GET /v2/models/NAME[/versions/VERSION]`; an empty version means the latest, here and below."""

    name: str
    version: str


class ModelReady(msgspec.Struct, frozen=True):
    """`GET .../ready`."""

    name: str
    version: str


class ModelConfig(msgspec.Struct, frozen=True):
    """`GET .../config`."""

    name: str
    version: str


class Infer(msgspec.Struct, frozen=True):
    """`POST .../infer`."""

    name: str
    version: str


class Predict(msgspec.Struct, frozen=True):
    """`POST /predict/NAME[/versions/VERSION]`: plain rows or columns, for people."""

    name: str
    version: str


class Page(msgspec.Struct, frozen=True):
    """`GET /predict/NAME[/versions/VERSION]`: a page to try a model. An empty name is `GET /`: a list."""

    name: str = ""
    version: str = ""


class OpenApi(msgspec.Struct, frozen=True):
    """`GET /openapi.json`."""


Description = (
    ServerLive | ServerReady | ServerMetadata | ModelMetadata | ModelReady | ModelConfig | Page | OpenApi
)
Route = Infer | Predict | Description | ExtensionRoute


def route_of(method: str, target: bytes) -> Route:
    """As `parse_route`, which reads the same targets again and again: those of a usual length are kept."""
    if len(target) <= _KEPT_BYTES_MAX:
        return _kept_route(method, target)
    return parse_route(method, target.decode("latin-1"))


@functools.lru_cache(1024)
def _kept_route(method: str, target: bytes) -> Route:
    return parse_route(method, target.decode("latin-1"))


class WrongMethod(Refused):
    """There is such a route, for other methods."""

    def __init__(self, path: str, method: str, allowed: list[str]) -> None:
        message = f"`{cut(path)}` takes {' and '.join(allowed)}, got {cut(method)}"
        super().__init__(Diagnostic("FS209", message))
        self.allowed = ", ".join("GET, HEAD" if name == "GET" else name for name in allowed)


def parse_route(method: str, target: str) -> Route:
    """Read a method and a request target, with or without a query. HEAD asks what GET asks.

    Raises `Refused` FS209 where there is no such route or it takes another method.
    """
    path = target.partition("?")[0]
    if path[:1] != "/":  # as a proxy is asked, which a server must also take (RFC 9112, 3.2.2)
        path = _ABSOLUTE.sub("", path) or "/"
    route = _find("GET" if method == "HEAD" else method, path)
    if route is None:
        _refuse(method, path)
    return route


def _find(method: str, path: str) -> Route | None:
    segments = path.removesuffix("/").split("/")
    if "%" in path:
        segments = [unquote(segment) for segment in segments]
    match method, *segments:
        case "POST", "", "v2", "models", name, "infer":
            return Infer(name, "")
        case "POST", "", "v2", "models", name, "versions", version, "infer":
            return Infer(name, version)
        case "GET", "", "v2", "health", "live":
            return ServerLive()
        case "GET", "", "v2", "health", "ready":
            return ServerReady()
        case "GET", "", "v2":
            return ServerMetadata()
        case "POST", "", "predict", name:
            return Predict(name, "")
        case "POST", "", "predict", name, "versions", version:
            return Predict(name, version)
        case "GET", "":
            return Page()
        case "GET", "", "predict", name:
            return Page(name)
        case "GET", "", "predict", name, "versions", version:
            return Page(name, version)
        case "GET", "", "openapi.json":
            return OpenApi()
        case "GET", "", "metrics":
            return Metrics()
        case _, "", "v2", *rest:
            return find_extension(method, rest) or _find_model(method, rest)
        case _:
            return None


def _find_model(method: str, segments: list[str]) -> Route | None:
    match method, *segments:
        case "GET", "models", name, *rest:
            return _find_described(name, rest)
        case _:
            return None


def _find_described(name: str, rest: list[str]) -> Route | None:
    match rest:
        case []:
            return ModelMetadata(name, "")
        case ["versions", version]:
            return ModelMetadata(name, version)
        case ["ready"]:
            return ModelReady(name, "")
        case ["versions", version, "ready"]:
            return ModelReady(name, version)
        case ["config"]:
            return ModelConfig(name, "")
        case ["versions", version, "config"]:
            return ModelConfig(name, version)
        case _:
            return None


def _refuse(method: str, path: str) -> NoReturn:
    if allowed := [other for other in ("GET", "POST") if _find(other, path) is not None]:
        raise WrongMethod(path, method, allowed)
    refuse("FS209", f"there is no route `{cut(path)}`; the routes begin with `/v2` or `/predict`")
