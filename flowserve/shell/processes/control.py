"""Asking a running server to change: a Unix socket of the supervisor, a JSON object a line.

The socket lies in a folder that only its user can enter, named after the port or the Unix socket of the
server's HTTP, so that a command finds the server by the address that requests go to.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import stat
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.diagnostics import Diagnostic, Place, Refused, refuse
from flowserve.core.catalog.catalog import Catalog
from flowserve.core.catalog.operations import Load, Point, Unload
from flowserve.core.histogram import added, quantile
from flowserve.core.models.seat import Gpu
from flowserve.core.observe.measures import ModelMeasure
from flowserve.core.rollout.evidence import Evidence
from flowserve.core.rollout.plan import Rollout
from flowserve.core.wire.addresses import Address, Tcp

LINE_BYTES_MAX = 16 * 2**20
_PATIENCE_S = 600.0  # loading a large model takes its time


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Say how the server is."""


class Stop(msgspec.Struct, frozen=True, tag="stop"):
    """Finish what was begun and end."""


class StartRollout(msgspec.Struct, frozen=True, tag="start rollout"):
    """Begin a rollout; `settings` go before what the server's configuration says of rollouts."""

    name: str
    version: int
    alias: str
    settings: dict[str, Any] = {}


class FinishRollout(msgspec.Struct, frozen=True, tag="finish rollout"):
    """Promote a rollout's candidate, or let it get nothing more."""

    name: str
    alias: str
    promote: bool


Request = Load | Unload | Point | StartRollout | FinishRollout | Status | Stop


class Use(msgspec.Struct, frozen=True):
    """Of a version or of all, since they are served. Latencies are in milliseconds, None where there is none,
    from a request that has arrived to its answer; `per_s` is of the last minute or so."""

    requests: int = 0
    """That were answered with outputs."""
    refused: int = 0
    rows: int = 0
    per_s: float = 0.0
    p50_ms: float | None = None
    p99_ms: float | None = None
    bytes: int = 0
    """Memory in all processes, of the host."""
    gpu_bytes: dict[str, int] = {}
    """And by GPU, `gpu:0` and so on."""
    waiting: int = 0


class ModelRow(msgspec.Struct, frozen=True):
    """A version as the server has it."""

    name: str
    version: int
    state: str
    aliases: list[str]
    reason: str
    serving: bool = True
    """Whether it takes traffic; `reason` may say why other bytes than those on disk do."""
    use: Use | None = None
    """What it was asked; None where nobody has counted."""


class RolloutRow(msgspec.Struct, frozen=True):
    """A rollout that is under way, and what was seen in `age_s` of its step."""

    name: str
    alias: str
    rollout: Rollout
    share: float
    age_s: float
    verdict: str
    evidence: Evidence


class PastRollout(msgspec.Struct, frozen=True):
    """How the last rollout of an alias ended, and when, in seconds since 1970."""

    name: str
    alias: str
    candidate: int
    ended: float
    promoted: bool
    reason: str


class State(msgspec.Struct, frozen=True, tag="state"):
    """How the server is: answers every request. `processes` are those that answer requests, by id."""

    process: int
    generation: int
    up_s: float
    processes: list[int]
    restarts: int
    waiting: int
    models: list[ModelRow]
    events: list[str]
    use: Use | None = None
    """Of all versions; with `resident_bytes` of all processes, models or not."""
    connections: int = 0
    in_flight: int = 0
    resident_bytes: int = 0
    memory_bytes: int = 0
    """That all models may have on the host, 0 for no bound."""
    gpus: tuple[Gpu, ...] = ()
    """That models may compute on, with what they may have there in all processes."""
    rollouts: list[RolloutRow] = []
    past_rollouts: list[PastRollout] = []
    notes: list[str] = []
    """What went otherwise than asked in what was done."""


class Refusal(msgspec.Struct, frozen=True, tag="refused"):
    """Nothing was changed."""

    diagnostics: tuple[Diagnostic, ...]


Answer = State | Refusal

read_request = msgspec.json.Decoder(Request).decode
_answers: msgspec.json.Decoder[Answer] = msgspec.json.Decoder(Answer)


def line(message: Request | Answer) -> bytes:
    """A message as it is sent."""
    return msgspec.json.encode(message) + b"\n"


def model_rows(catalog: Catalog) -> list[ModelRow]:
    """Every version that a server knows, by name and version."""
    return [
        ModelRow(
            name,
            number,
            entry.state,
            sorted(alias for alias, to in named.aliases.items() if to == number),
            entry.reason,
            bool(entry.serving),
        )
        for name, named in sorted(catalog.models.items())
        for number, entry in sorted(named.versions.items())
    ]


def used(measures: Iterable[ModelMeasure]) -> Use:
    """What versions were asked, together."""
    of = list(measures)
    counts: list[int] = []
    for measure in of:
        counts = added(counts, measure.request)
    p50, p99 = (quantile(counts, share) for share in (0.5, 0.99))
    return Use(
        requests=sum(counts),
        refused=sum(refusals.count for measure in of for refusals in measure.refusals),
        rows=sum(measure.rows for measure in of),
        per_s=round(sum(measure.per_s for measure in of), 2),
        p50_ms=None if p50 is None else round(p50, 4),
        p99_ms=None if p99 is None else round(p99, 4),
        bytes=sum(measure.bytes for measure in of),
        gpu_bytes=dict(sum((Counter(measure.gpu_bytes) for measure in of), Counter[str]())),
        waiting=sum(measure.waiting for measure in of),
    )


def socket_path(address: Address) -> Path:
    """Where the server of an address is asked. Raises `Refused` FS108 where the folder is not ours alone."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    folder = Path(runtime) / "flowserve" if runtime else Path(f"/tmp/flowserve-{os.getuid()}")
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        found = folder.lstat()
    except OSError as error:
        refuse("FS108", f"the folder of control sockets cannot be made: {error.strerror}", Place(str(folder)))
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        hint = "remove it, or let XDG_RUNTIME_DIR name another"
        message = "the folder of control sockets must be only its user's"
        refuse("FS108", message, Place(str(folder)), hint=hint)
    if isinstance(address, Tcp):
        return folder / f"{address.port}.sock"
    name = hashlib.sha256(os.path.realpath(address.path).encode()).hexdigest()[:16]
    return folder / f"unix-{name}.sock"


def left_path(address: Address) -> Path:
    """Where requests leave things for all processes of the server of an address. Raises `Refused` FS108."""
    return socket_path(address).with_suffix(".left")


def listen(address: Address) -> socket.socket:
    """The socket of the server of an address. What an earlier server left behind is removed.

    Raises `Refused` FS108 when another server has it: one of another host's address, with the same port.
    """
    path = socket_path(address)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking, contextlib.suppress(OSError):
            asking.connect(str(path))
            refuse("FS108", f"another server of {_said(address)} is controlled there", Place(str(path)))
        path.unlink(missing_ok=True)
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
    except OSError as error:
        listener.close()
        hint = "it lies below `XDG_RUNTIME_DIR`: name a folder there that can be written to, and is not deep"
        message = f"the control socket cannot be made: {error.strerror or error}"
        refuse("FS108", message, Place(str(path)), hint=hint)
    return listener


def ask(address: Address, request: Request) -> State:
    """Return the answer of the server of an address.

    Raises `Refused` FS108 when there is none, and with what the server refuses.
    """
    path, said = socket_path(address), _said(address)
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
            asking.settimeout(_PATIENCE_S)
            asking.connect(str(path))
            asking.sendall(line(request))
            with asking.makefile("rb") as answers:
                text = answers.readline()
    except (FileNotFoundError, ConnectionRefusedError):
        hint = "`flowserve start` starts one; `--http` names another address"
        refuse("FS108", f"no server of {said} runs here as this user", hint=hint)
    except OSError as error:
        refuse("FS108", f"the server of {said} does not answer: {error}", Place(str(path)))
    if not text.endswith(b"\n"):
        refuse("FS108", f"the server of {said} ended before it answered", Place(str(path)))
    answer = _answers.decode(text)
    if isinstance(answer, Refusal):
        raise Refused(*answer.diagnostics)
    return answer


def _said(address: Address) -> str:
    return f"port {address.port}" if isinstance(address, Tcp) else f"`{address}`"
