"""What a daemon is asked and what it answers: a JSON object a line, one answer for each request."""

from __future__ import annotations

import msgspec

from flowc.plan.diagnostics import Diagnostic
from flowrun.core.sharing.rows import TeamRow
from flowrun.service.tables import QueueTable

MAX_REQUEST = 1 << 20  # bytes of a line


class _Request(msgspec.Struct, frozen=True, tag_field="request", forbid_unknown_fields=True):
    """A request."""


class Submit(_Request, frozen=True, tag="submit"):
    """Execute a plan, named by its absolute path, maybe going on with the run `resume`.

    Without a team it is for the only one or the default one, and in its team's tier if that is 0. Who is told
    of it is named by URLs: a daemon runs no command that comes over its socket, and writes no file for it.
    """

    plan: str
    inputs: tuple[str, ...] = ()
    team: str = ""
    tier: int = 0
    priority: int = 0
    resume: str = ""
    cached: bool = True
    refresh: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    otel: str = ""
    openlineage: str = ""
    on_end: tuple[str, ...] = ()


class Cancel(_Request, frozen=True, tag="cancel"):
    """End a run; asked twice, at once."""

    run: str


class AskQueue(_Request, frozen=True, tag="queue"):
    """What waits, and what runs."""


class AskTeams(_Request, frozen=True, tag="teams"):
    """What each team has."""


class _Answer(msgspec.Struct, frozen=True, tag_field="answer"):
    """An answer."""


class Submitted(_Answer, frozen=True, tag="submitted"):
    """A run was queued, under that name. `kept`: how many of its nodes are done already."""

    run: str
    nodes: int
    team: str
    tier: int
    kept: int = 0


class Cancelling(_Answer, frozen=True, tag="cancelling"):
    """A run is going to end; what runs of it was asked to, or made to if that was asked before.

    `outage` says why that is not written down yet: the log cannot be.
    """

    run: str
    running: int
    forced: bool
    outage: str = ""


class QueueAnswer(_Answer, frozen=True, tag="queue"):
    """What waits, and what runs."""

    table: QueueTable


class TeamsAnswer(_Answer, frozen=True, tag="teams"):
    """What each team has."""

    rows: list[TeamRow]


class Refusal(_Answer, frozen=True, tag="refused"):
    """Nothing was done, and why."""

    diagnostics: tuple[Diagnostic, ...]


Request = Submit | Cancel | AskQueue | AskTeams
Answer = Submitted | Cancelling | QueueAnswer | TeamsAnswer | Refusal

_encode = msgspec.json.Encoder().encode
_requests = msgspec.json.Decoder(Request)
_answers = msgspec.json.Decoder(Answer)


def decode_request(text: bytes) -> Request:
    """What is asked; `msgspec.DecodeError` if that is no request."""
    request: Request = _requests.decode(text)
    return request


def decode_answer(text: bytes) -> Answer:
    """What is answered."""
    answer: Answer = _answers.decode(text)
    return answer


def line(message: Request | Answer) -> bytes:
    """A message as it goes over the socket."""
    return _encode(message) + b"\n"
