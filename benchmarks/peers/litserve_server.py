"""LitServe with one worker: litserve_server.py --port PORT."""

from __future__ import annotations

import sys
from typing import Any

import litserve
from perceptron import predicted, session


class Perceptron(litserve.LitAPI):  # type: ignore[misc]
    """One row a request, which are not joined."""

    def setup(self, device: Any) -> None:
        """Load."""
        self.model = session()

    def predict(self, request: Any) -> Any:
        """Answer a request."""
        return predicted(self.model, request)


if __name__ == "__main__":
    server = litserve.LitServer(Perceptron(), accelerator="cpu", workers_per_device=1)
    server.run(host="127.0.0.1", port=int(sys.argv[-1]), generate_client_file=False, log_level="error")
