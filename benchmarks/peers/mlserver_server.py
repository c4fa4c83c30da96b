"""MLServer with a model of ours in its own process, not in workers: mlserver_server.py --port PORT."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from perceptron import session


class Perceptron(MLModel):  # type: ignore[misc]
    """One row a request, which are not joined."""

    async def load(self) -> bool:
        """Load."""
        self.model = session()
        return True

    async def predict(self, payload: Any) -> Any:
        """Answer a request."""
        row = NumpyCodec.decode_input(payload.inputs[0])
        (given,) = self.model.run(None, {"input": row})
        output = NumpyCodec.encode_output("output", given)
        return InferenceResponse(model_name="model", model_version="1", outputs=[output])


if __name__ == "__main__":
    port, folder = int(sys.argv[-1]), Path("mlserver")
    folder.mkdir(exist_ok=True)
    ports = {"http_port": port, "grpc_port": port + 1, "metrics_port": port + 2}
    settings = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    (folder / "settings.json").write_text(json.dumps(settings))
    model = {"name": "model", "implementation": "mlserver_server.Perceptron"}
    (folder / "model-settings.json").write_text(json.dumps(model))
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    command = str(Path(sys.executable).parent / "mlserver")
    os.execv(command, [command, "start", str(folder)])
