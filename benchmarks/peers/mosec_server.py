"""mosec with one worker a model, each with a route and a process of its own."""

from __future__ import annotations

import os
from typing import Any

import mosec
from perceptron import predicted, session, settings


class Perceptron(mosec.Worker):  # type: ignore[misc]
    """One row a request, which are not joined."""

    def __init__(self) -> None:
        self.model = session()

    def forward(self, data: Any) -> Any:
        """Answer a request."""
        return predicted(self.model, [data])[0]


class Joined(Perceptron):
    """Several requests together."""

    def forward(self, data: Any) -> Any:
        """Answer several requests."""
        return predicted(self.model, data)


if __name__ == "__main__":
    chosen = settings(__doc__)
    if chosen.queue:
        os.environ["MOSEC_CAPACITY"] = str(chosen.queue)  # beyond it says 429
    if chosen.timeout_ms:
        os.environ["MOSEC_TIMEOUT"] = str(int(chosen.timeout_ms))
    server = mosec.Server()  # it reads `--port` itself
    for name in chosen.names:
        joined = {"max_batch_size": chosen.batch, "max_wait_time": int(chosen.wait_ms)}
        kind, options = (Joined, joined) if chosen.batch > 1 else (Perceptron, {})
        server.append_worker(kind, num=1, route=f"/{name}", **options)
    server.run()
