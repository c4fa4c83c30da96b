"""The models of a server as clients of one of its processes see and change them: through the supervisor."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowserve.core.engine.calls import Engine
from flowserve.core.wire.hosting import Done, Indexed
from flowserve.core.wire.statistics import ModelStatistics, counted
from flowserve.core.wording import listed
from flowserve.shell.models.serving import Serving
from flowserve.shell.processes.control import Load, ModelRow, Unload
from flowserve.shell.processes.messages import Asked

_WAITING_MAX = 64


class SupervisedRepository:
    """A `Repository`. `control` says whether requests may change it."""

    def __init__(self, models: Serving, engine: Engine, control: bool, tell: Callable[[Asked], None]) -> None:
        self._models = models
        self._engine = engine
        self._control = control
        self._tell = tell
        self._rows: list[ModelRow] = []
        self._waiting: dict[int, Done] = {}
        self._number = 0

    def known(self, rows: list[ModelRow]) -> None:
        """Hear from the supervisor what there is."""
        self._rows = rows

    def told(self, number: int, diagnostics: Iterable[Diagnostic]) -> None:
        """Hear from the supervisor what became of a request."""
        refused = tuple(diagnostics)
        self._waiting.pop(number)(Refused(*refused) if refused else None)

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
        self._ask(Load(name), done)

    def unload(self, name: str, dependents: bool, done: Done) -> None:
        """Have the supervisor unload a model, on which no other depends. Refuses FS230, later FS107."""
        self._ask(Unload(name), done)

    def statistics(self, name: str, version: str) -> list[ModelStatistics]:
        """Return what this process has counted. Raises `Refused` FS202."""
        return counted(self._models.table, self._engine.tally, name, version)

    def _ask(self, request: Load | Unload, done: Done) -> None:
        if not self._control:
            refuse("FS230", "requests load and unload models only where `--model-control` lets them")
        if len(self._waiting) >= _WAITING_MAX:
            refuse("FS107", f"{_WAITING_MAX} operations wait for their turn already")
        self._number += 1
        self._waiting[self._number] = done
        self._tell(Asked(self._number, request))


def _state(row: ModelRow) -> str:
    if row.serving:
        return "READY"
    return "LOADING" if row.state == "loading" else "UNAVAILABLE"


def _reason(row: ModelRow) -> str:
    return "unloaded" if row.state == "known" else ""
