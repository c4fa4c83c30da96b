"""mosec with one worker; it reads its port from the command line."""

from __future__ import annotations

from typing import Any

import mosec
from perceptron import predicted, session


class Perceptron(mosec.Worker):  # type: ignore[misc]
    """One row a request, which are not joined."""

    def __init__(self) -> None:
        self.model = session()

    def forward(self, data: Any) -> Any:
        """Answer a request."""
        return predicted(self.model, data)


if __name__ == "__main__":
    server = mosec.Server()
    server.append_worker(Perceptron, num=1)
    server.run()
