"""In a worker: what an operator logs is sent to the scheduler, which has it in the run at once."""

from __future__ import annotations

import socket
from typing import Any

from flowc.plan import sink
from flowrun.core.model import Artifact
from flowrun.shell.clock import now_ms
from flowrun.shell.store.artifacts import Store
from flowrun.shell.workers.messages import Spawn, Told, frame


def begin(order: Spawn, channel: socket.socket, store: Store) -> None:
    """What is logged from now on is of this attempt."""
    sink.begin(lambda: _journal(order, channel, store))


def end() -> None:
    """Nothing more is: what was held back is sent, before the attempt's end is."""
    sink.end()


def _journal(order: Spawn, channel: socket.socket, store: Store) -> sink.Sink:
    from flowrun.shell.workers.journal import Entries, Journal  # which few operators need

    def send(entries: Entries) -> None:
        artifacts = dict(entries.artifacts)
        told = Told(order.node, order.attempt, order.run, entries.points, entries.notes, artifacts)
        channel.sendall(frame(told))

    def keep(value: Any) -> Artifact:
        return store.put(value)

    return Journal(send, keep, now_ms)
