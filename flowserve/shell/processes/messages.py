"""What the supervisor and a worker tell each other: a JSON object a line, over a pair of sockets."""

from __future__ import annotations

import msgspec

from flowc.plan.diagnostics import Diagnostic
from flowserve.core.catalog.operations import Load, Unload
from flowserve.core.models.key import Key
from flowserve.core.models.seat import Gpu
from flowserve.core.models.settings import PerModel
from flowserve.core.observe.measures import ProcessMeasure
from flowserve.core.observe.settings import Observed
from flowserve.core.observe.statistics import ModelStatistics
from flowserve.core.rollout.evidence import Evidence
from flowserve.core.rollout.plan import Rollout
from flowserve.core.wire.limits import Limits
from flowserve.shell.processes.control import ModelRow
from flowserve.shell.wire.security import Credentials


class Begin(msgspec.Struct, frozen=True, tag="begin"):
    """The first message: what to serve with."""

    repository: str
    server_version: str
    limits: Limits = Limits()
    models: PerModel = PerModel()
    memory_bytes: int = 0
    grace_s: float = 300.0
    gpus: tuple[Gpu, ...] = ()
    processes: int = 1
    """How many answer."""
    model_control: bool = False
    observed: Observed = Observed()
    credentials: Credentials = Credentials()
    left: str = ""
    """Where requests leave things for all processes."""


class Prepare(msgspec.Struct, frozen=True, tag="prepare"):
    """Have a table of these versions ready, and in memory those of tiers 1 and 2, and `proven` whatever
    their tier."""

    generation: int
    versions: list[Key]
    aliases: dict[str, dict[str, int]]
    rollouts: dict[str, dict[str, Rollout]] = {}
    failed: dict[str, dict[int, str]] = {}
    """Why versions are not among these."""
    proven: list[Key] = []


class Serve(msgspec.Struct, frozen=True, tag="serve"):
    """Accept connections."""


class Moved(msgspec.Struct, frozen=True, tag="moved"):
    """The word is this generation now: what only older tables have may go."""

    generation: int


class Halt(msgspec.Struct, frozen=True, tag="halt"):
    """Give a rollout's candidate nothing more, now: its end has to wait until what is being loaded is."""

    name: str
    alias: str
    serial: int


class Known(msgspec.Struct, frozen=True, tag="known"):
    """What the server has of models now."""

    models: list[ModelRow]


class Told(msgspec.Struct, frozen=True, tag="told"):
    """The answer to what was `Asked`: what was counted, or for a change nothing if it is done, or why not."""

    number: int
    diagnostics: tuple[Diagnostic, ...] = ()
    statistics: list[ModelStatistics] = []
    packed: bytes = b""
    """Text, packed with gzip."""


class Measure(msgspec.Struct, frozen=True, tag="measure"):
    """Say what was counted, of models all or of these versions; `number` is the answer's."""

    number: int
    versions: list[Key] | None = None


class Measured(msgspec.Struct, frozen=True, tag="measured"):
    """What a process has counted, but for models that are in messages before this one or after it.

    Of models that are in none of them it has counted nothing or, where it is not `whole`, was not asked.
    """

    number: int
    process: ProcessMeasure
    last: bool = True
    whole: bool = True


class Count(msgspec.Struct, frozen=True, tag="count"):
    """Say what all processes have counted of these versions, as the protocol's statistics."""

    versions: list[Key]


class Scrape(msgspec.Struct, frozen=True, tag="scrape"):
    """Say what all processes have counted, as text for Prometheus."""

    stages: bool
    openmetrics: bool


class Failure(msgspec.Struct, frozen=True):
    """A version that cannot be served."""

    key: Key
    diagnostics: tuple[Diagnostic, ...]


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """The table of a generation is ready, or would be without `failures`."""

    generation: int
    failures: list[Failure]


class Seen(msgspec.Struct, frozen=True):
    """What a process has seen of a rollout since it got the step of this serial."""

    name: str
    alias: str
    serial: int
    evidence: Evidence


class Noted(msgspec.Struct, frozen=True, tag="noted"):
    """Something that an operator should know."""

    text: str


class Alive(msgspec.Struct, frozen=True, tag="alive"):
    """The event loop turns: told every second."""


class Watched(msgspec.Struct, frozen=True, tag="watched"):
    """What a process has seen of all rollouts, told about every second."""

    seen: list[Seen]


class Listening(msgspec.Struct, frozen=True, tag="listening"):
    """Connections are accepted."""

    models: list[str]


class Unable(msgspec.Struct, frozen=True, tag="unable"):
    """No connections can be accepted; the process ends."""

    diagnostics: tuple[Diagnostic, ...]


class Asked(msgspec.Struct, frozen=True, tag="asked"):
    """A client of this process asks for it."""

    number: int
    request: Load | Unload | Count | Scrape


ToWorker = Begin | Prepare | Serve | Moved | Halt | Known | Told | Measure
ToSupervisor = Prepared | Listening | Unable | Asked | Measured | Watched | Noted | Alive

_encoder = msgspec.json.Encoder()
read_for_worker = msgspec.json.Decoder(ToWorker).decode
read_for_supervisor = msgspec.json.Decoder(ToSupervisor).decode


def line(message: ToWorker | ToSupervisor) -> bytes:
    """A message as it is sent."""
    return _encoder.encode(message) + b"\n"
