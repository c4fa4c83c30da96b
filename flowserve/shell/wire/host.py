"""What an HTTP/1.1 connection needs of its server."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from flowserve.core.wire.answers import Answer
from flowserve.core.wire.heads import Received
from flowserve.shell.wire import incoming

if TYPE_CHECKING:
    from flowserve.shell.wire.connection import Connection


class AnswerObserver(Protocol):
    """Hears of every answer. Runs on the loop, and waits for nothing."""

    def answered(self, received: Received | None, answer: Answer, peer: object) -> None:
        """Hear of an answer; of what was no request there is nothing."""


class Standing(Protocol):
    """Refusals that may be told again."""

    @property
    def standing(self) -> Mapping[Any, Any]:
        """What was told; empty most of the time."""

    def again(self, received: Received) -> bytes | None:
        """Return what a request is told that is like one of those; None where somebody has to look."""


class Host(incoming.Host, Protocol):
    """What a connection needs of its server."""

    answers: dict[int, int]
    """How many answers were given, by status."""
    observer: AnswerObserver | None

    @property
    def refusals(self) -> Standing:
        """What requests were told of late that the engine refused."""

    @property
    def draining(self) -> bool:
        """Whether the server is about to end."""

    def opened(self, connection: Connection) -> bool:
        """Take note of a connection; false when there are too many."""

    def closed(self, connection: Connection) -> None:
        """Forget a connection."""

    def settled(self) -> None:
        """Hear that a connection has nothing to do any more."""

    def answer(self, received: Received, connection: Connection) -> Answer | None:
        """Answer now, or return None and call `connection.answered` later."""
