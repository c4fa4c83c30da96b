"""The models of a server as clients of one of its processes see and change them: through the supervisor."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.catalog.operations import Load, Unload
from flowserve.core.wording import listed
from flowserve.shell.models.serving import Serving
from flowserve.shell.processes.control import ModelRow
from flowserve.shell.processes.messages import Asked, Count, Scrape, Told
from flowserve.shell.wire.repository import Counted, Done, Exposed, Indexed

_WAITING_MAX = 64


class SupervisedRepository:
    """A `Repository`. `control` says whether requests may change it."""

    def __init__(self, models: Serving, tell: Callable[[Asked], None], control: bool = False) -> None:
        self._models = models
        self._control = control
        self._tell = tell
        self._rows: list[ModelRow] = []
        self._waiting: dict[int, Callable[[Told], None]] = {}
        self._number = 0

    def known(self, rows: list[ModelRow]) -> None:
        """Hear from the supervisor what there is."""
        self._rows = rows

    def told(self, told: Told) -> None:
        """Hear from the supervisor what became of a request."""
        self._waiting.pop(told.number)(told)

    def index(self) -> list[Indexed]:
        """Return every version that the supervisor knows."""
        return [
            Indexed(row.name, str(row.version), _state(row), row.reason or _reason(row)) for row in self._rows
        ]

    def load(self, name: str, parameters: Mapping[str, str | int | float | bool], done: Done) -> None:
        """Have the supervisor look at a model's folder and load it. Refuses FS230, later FS107."""
        if parameters:
            given = listed(sorted(parameters))
            refuse("FS230", f"models are loaded as they are on disk, but the request brings {given}")
        self._change(Load(name), done)

    def unload(self, name: str, dependents: bool, done: Done) -> None:
        """Have the supervisor unload a model, on which no other depends. Refuses FS230, later FS107."""
        self._change(Unload(name), done)

    def statistics(self, name: str, version: str, done: Counted) -> None:
        """Tell what all processes have counted. Raises `Refused` FS202."""
        versions = self._models.table.keys(name, version)
        self._ask(Count(versions), lambda told: done(told.statistics))

    def metrics(self, stages: bool, openmetrics: bool, done: Exposed) -> None:
        """Tell what all processes have counted, as the supervisor writes it."""
        self._ask(Scrape(stages, openmetrics), lambda told: done(told.packed))

    def _change(self, request: Load | Unload, done: Done) -> None:
        if not self._control:
            refuse("FS230", "requests load and unload models only where `--model-control` lets them")
        self._ask(request, lambda told: done(Refused(*told.diagnostics) if told.diagnostics else None))

    def _ask(self, request: Load | Unload | Count | Scrape, then: Callable[[Told], None]) -> None:
        if len(self._waiting) >= _WAITING_MAX:
            refuse("FS107", f"{_WAITING_MAX} operations wait for their turn already")
        self._number += 1
        self._waiting[self._number] = then
        self._tell(Asked(self._number, request))


def _state(row: ModelRow) -> str:
    if row.serving:
        return "READY"
    return "LOADING" if row.state == "loading" else "UNAVAILABLE"


def _reason(row: ModelRow) -> str:
    return "unloaded" if row.state == "known" else ""
