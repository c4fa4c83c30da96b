"""Where the models of a process may compute, beside the host."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from functools import cache

import numpy as np

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.members import is_bound
from flowserve.core.models.key import Key
from flowserve.core.models.providers import seats, with_options
from flowserve.core.models.seat import Gpu, Seat
from flowserve.core.models.settings import ModelSettings, PerModel
from flowserve.shell.models import sessions

ESTIMATE = 2
"""A model is expected to take so many times what its files have, until it is measured."""


class Seats:
    """The GPUs of a process, and what models ask for."""

    def __init__(
        self,
        gpus: Sequence[Gpu] = (),
        models: PerModel = PerModel(),  # noqa: B008
        available: Sequence[str] = (),
    ) -> None:
        """`available` are the providers that this onnxruntime was built with."""
        self._gpus = {gpu.space: gpu for gpu in gpus}
        self._models = models
        self._available = available

    def require(self, key: Key) -> tuple[str, ...]:
        """The GPUs that a version may compute on, none for the host. Raises `Refused` FS267."""
        if is_bound(key.stamp):  # a pipeline computes nothing itself
            return ()
        return seats(key.name, self._models.of(key.name), self._available, list(self._gpus.values()))

    def refusal(self, key: Key) -> Refused | None:
        """Why a version cannot compute where it asks to."""
        try:
            self.require(key)
        except Refused as refused:
            return refused
        return None

    def spaces(self, key: Key) -> tuple[str, ...]:
        """The GPUs that a version may compute on; none for one that asks for one in vain."""
        if not self._gpus:
            return ()
        try:
            return self.require(key)
        except Refused:
            return ()

    def expected(self, key: Key, space: str, files_bytes: int) -> Seat:
        """The seat of a version that was not measured yet: what is said of it, or else an estimate."""
        said = self._models.of(key.name).gpu_memory_mb * 2**20
        return Seat(space, said or ESTIMATE * files_bytes, bounded=bool(said))

    def begin(self, space: str) -> None:
        """Have CUDA begin on a GPU, before what a model takes is measured."""
        _begin(self._gpus[space])

    def gpu(self, space: str) -> Gpu:
        """The GPU of a seat."""
        return self._gpus[space]


@cache
def _begin(gpu: Gpu) -> None:
    """Have CUDA and its libraries begin on a GPU: some hundred MB a process, which are no model's."""
    from onnx import TensorProto, helper

    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [8, 8]) for name in "xy")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "x"], ["y"])], "begin", [x], [y])
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    providers = with_options("cuda", Seat(gpu.space), 0, ModelSettings(), engines="")
    with contextlib.suppress(Exception):  # the model that is loaded next says why it cannot be
        options = sessions.session_options(ModelSettings())
        session = sessions.create_session(content.SerializeToString(), options, providers)
        session.run(["y"], {"x": np.zeros((8, 8), np.float32)})
