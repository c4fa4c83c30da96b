"""A real Triton, to whose Python backend pytriton binds a function: triton_server.py --port PORT."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from perceptron import session
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

if __name__ == "__main__":
    model = session()

    @batch  # type: ignore[untyped-decorator]
    def infer(**inputs: Any) -> Any:
        """Answer the rows that Triton has joined."""
        return model.run(None, inputs)

    port = int(sys.argv[-1])
    config = TritonConfig(http_port=port, grpc_port=port + 1, metrics_port=port + 2, http_address="127.0.0.1")
    with Triton(config=config) as server:
        server.bind(
            model_name="model",
            infer_func=infer,
            inputs=[Tensor(name="input", dtype=np.float32, shape=(32,))],
            outputs=[Tensor(name="output", dtype=np.float32, shape=(1,))],
            config=ModelConfig(max_batch_size=64, batcher=DynamicBatcher(max_queue_delay_microseconds=0)),
        )
        server.serve()
