"""LitServe with one worker a model, each with a path and a process of its own.

It bounds no queue; what has waited longer than half of the timeout gets a 504 when its turn has come.
"""

from __future__ import annotations

from typing import Any

import litserve
from perceptron import predicted, session, settings


class Perceptron(litserve.LitAPI):  # type: ignore[misc]
    """One row a request, which are not joined."""

    def setup(self, device: Any) -> None:
        """Load."""
        self.model = session()

    def predict(self, request: Any) -> Any:
        """Answer a request."""
        return predicted(self.model, [request])[0]


class Joined(Perceptron):
    """Several requests together."""

    def predict(self, request: Any) -> Any:
        """Answer several requests."""
        return predicted(self.model, request)


if __name__ == "__main__":
    chosen = settings(__doc__)
    joined = {"max_batch_size": chosen.batch, "batch_timeout": chosen.wait_ms / 1000}
    kind, options = (Joined, joined) if chosen.batch > 1 else (Perceptron, {})
    server = litserve.LitServer(
        [kind(api_path=f"/{name}", **options) for name in chosen.names],
        accelerator="cpu",
        workers_per_device=1,
        timeout=chosen.timeout_ms / 2 / 1000 or 30,
    )
    server.run(host="127.0.0.1", port=chosen.port, generate_client_file=False, log_level="error")
