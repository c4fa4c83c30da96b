"""MLServer with models of ours in its own process, not in workers.

It bounds no queue, and knows no deadline.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceResponse
from perceptron import session, settings


class Perceptron(MLModel):  # type: ignore[misc]
    """One row a request; MLServer itself joins them, if it is told to."""

    async def load(self) -> bool:
        """Load."""
        self.model = session()
        return True

    async def predict(self, payload: Any) -> Any:
        """Answer a request."""
        row = NumpyCodec.decode_input(payload.inputs[0])
        (given,) = self.model.run(None, {"input": row})
        output = NumpyCodec.encode_output("output", given)
        return InferenceResponse(model_name=self.name, model_version="1", outputs=[output])


if __name__ == "__main__":
    chosen, folder = settings(__doc__), Path("mlserver")
    folder.mkdir(exist_ok=True)
    ports = {"http_port": chosen.port, "grpc_port": chosen.port + 1, "metrics_port": chosen.port + 2}
    common = {"host": "127.0.0.1", "parallel_workers": 0, "debug": False, **ports}
    (folder / "settings.json").write_text(json.dumps(common))
    joined = {"max_batch_size": chosen.batch, "max_batch_time": chosen.wait_ms / 1000}
    for name in chosen.names:
        (folder / name).mkdir(exist_ok=True)
        model = {"name": name, "implementation": "mlserver_server.Perceptron"}
        written = json.dumps(model | (joined if chosen.batch > 1 else {}))
        (folder / name / "model-settings.json").write_text(written)
    os.environ["PYTHONPATH"] = str(Path(__file__).parent)
    command = str(Path(sys.executable).parent / "mlserver")
    os.execv(command, [command, "start", str(folder)])
