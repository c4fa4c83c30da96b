"""gRPC's health checking: of the server, of its service, and of models by their names."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

from google.protobuf.message import DecodeError

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.wire.grpc.service import inference_service
from flowserve.core.wire.grpc.standard import health_service
from flowserve.core.wire.tokens import Tokens
from flowserve.shell.models.serving import Serving
from flowserve.shell.wire.http2.streams import Stream

_SERVER = ("", inference_service().name)


class Health:
    """What probes and watchers are told. All methods run on the loop.

    A model that is served is a service of its name, NAME@VERSION and NAME@ALIAS too; with `tokens`, for who
    has one.
    """

    def __init__(self, models: Serving, tokens: Tokens | None) -> None:
        self._models = models
        self._tokens = tokens
        self._told: dict[Stream, tuple[str, str]] = {}
        """Who watches: the service, and what was said of it last."""
        self._ending = False
        models.on_move = partial(asyncio.get_running_loop().call_soon, self._look)

    def check(self, stream: Stream, data: bytes, compressed: bool) -> None:
        """Answer a probe. Raises `Refused`."""
        service = _service(stream.unpacked(data, compressed))
        status = self._status(stream, service)
        if status == "SERVICE_UNKNOWN":
            stream.fail("NOT_FOUND", f"there is no service `{service}`")
        else:
            stream.answer(_response(status))

    def watch(self, stream: Stream, data: bytes, compressed: bool) -> Callable[[], object]:
        """Say how a service is, and again whenever that changes. Raises `Refused`."""
        self._told[stream] = _service(stream.unpacked(data, compressed)), ""
        self._look()
        return partial(self._told.pop, stream, None)

    def end(self) -> None:
        """Tell that nothing is served any more, and end what is watched."""
        self._ending = True
        self._look()

    def _look(self) -> None:
        for stream, (service, told) in list(self._told.items()):
            status = self._status(stream, service)
            if status != told:
                self._told[stream] = service, status
                stream.send(_response(status))
            if self._ending:
                del self._told[stream]
                stream.finish()

    def _status(self, stream: Stream, service: str) -> str:
        if service not in _SERVER and not self._has(stream, service):
            return "SERVICE_UNKNOWN"
        return "NOT_SERVING" if self._ending else "SERVING"

    def _has(self, stream: Stream, name: str) -> bool:
        if self._tokens is not None and not self._tokens.admit(stream.head.authorization):
            return False
        try:
            self._models.table.version(name)
        except Refused:
            return False
        return True


def _service(data: bytes) -> str:
    try:
        return str(health_service().methods["Check"].request.FromString(data).service)
    except DecodeError as error:
        refuse("FS201", f"the request is not a HealthCheckRequest: {error}")


def _response(status: str) -> bytes:
    return bytes(health_service().methods["Check"].response(status=status).SerializeToString())
