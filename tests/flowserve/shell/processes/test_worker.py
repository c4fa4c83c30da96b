"""What a process learns of a model when it loads it, and how long it keeps that."""

import array
import asyncio
import gc
import socket

from onnx import TensorProto, helper

from flowserve.core.models.key import Key
from flowserve.core.models.table import Version
from flowserve.shell.models.repository import publish
from flowserve.shell.processes.messages import Begin
from flowserve.shell.processes.worker import Worker


def negative() -> bytes:
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [helper.make_node("Neg", ["x"], ["y"])],
        "graph",
        [tensor("x", TensorProto.FLOAT, ["n"])],
        [tensor("y", TensorProto.FLOAT, ["n"])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return model.SerializeToString()


def test_a_model_is_measured_when_it_is_loaded_and_forgotten_with_it(tmp_path):
    publish(tmp_path, "m", negative())

    async def load_and_forget():
        with socket.socket() as listener:
            worker = Worker(listener, memoryview(array.array("Q", [0])))
            worker._set_up(Begin(str(tmp_path), "1"))
            version = Version(Key("m", 1))
            await asyncio.to_thread(worker._memory.load, version)
            await asyncio.sleep(0)
            (lane,) = worker._engine._lanes
            assert lane.costs.known
            worker._memory.forget(version)
            gc.collect()
            assert list(worker._engine._lanes) == []

    asyncio.run(load_and_forget())
