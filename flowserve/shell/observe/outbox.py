"""What is to be told elsewhere, while requests go on: a bounded queue and a thread that empties it.

Nobody waits for it. What finds the queue full is dropped, what cannot be sent is lost, and both are counted.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from queue import Empty, SimpleQueue
from typing import Any

from flowserve.core.observe.measures import Logged

_log = logging.getLogger("flowserve")
_PAUSE_S = 0.05  # items are sent in lots: a thread that woke up for each would take turns with the event loop
_LOT_MAX = 1024
_BYTES_MAX = 64 * 2**20
_COMPLAIN_S = 60.0


class Outbox:
    """Sends what it is given, in its order."""

    def __init__(
        self, name: str, send: Callable[[list[Any]], None], waiting_max: int = 8192, pause_s: float = _PAUSE_S
    ) -> None:
        """`send` is called on the thread; what it raises is logged, at most once a minute."""
        self._name = name
        self._send = send
        self._waiting_max = waiting_max
        self._pause_s = pause_s
        self._queue: SimpleQueue[tuple[Any, int] | None] = SimpleQueue()
        self._written = self._dropped = self._lost = 0
        self._put_bytes = self._sent_bytes = 0  # each is added to by one thread only
        self._complained_s = -_COMPLAIN_S
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def logged(self) -> Logged:
        """What became of what was put."""
        return Logged(self._written, self._dropped, self._lost)

    def put(self, item: Any, size: int = 0) -> None:
        """Have something sent, unless too much waits already. `size` is how many bytes it keeps in memory."""
        waiting_bytes = self._put_bytes - self._sent_bytes
        if self._queue.qsize() >= self._waiting_max or (waiting_bytes and waiting_bytes + size > _BYTES_MAX):
            self._dropped += 1
        else:
            self._put_bytes += size
            self._queue.put((item, size))

    def close(self, patience_s: float = 2.0) -> None:
        """Send what waits, for so long at most."""
        self._closing.set()
        self._queue.put(None)
        self._thread.join(patience_s)

    def _run(self) -> None:
        ended = False
        while not ended:
            lot = [self._queue.get()]
            self._closing.wait(self._pause_s)
            try:
                while len(lot) < _LOT_MAX:
                    lot.append(self._queue.get_nowait())
            except Empty:
                pass
            ended = None in lot
            items = [entry for entry in lot if entry is not None]
            if items:
                self._try([item for item, _ in items])
                self._sent_bytes += sum(size for _, size in items)

    def _try(self, lot: list[Any]) -> None:
        try:
            self._send(lot)
            self._written += len(lot)
        except Exception as error:  # a full disk, or whatever a library raises: the server goes on
            self._lost += len(lot)
            now_s = time.monotonic()
            if now_s - self._complained_s >= _COMPLAIN_S:
                self._complained_s = now_s
                _log.warning("%s: %d records were lost: %s", self._name, self._lost, error)
