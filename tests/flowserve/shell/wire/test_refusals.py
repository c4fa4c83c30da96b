"""Refusals that stand for a moment, with an engine on a real loop and a model that is a plain function."""

import asyncio
import contextlib
import threading

import numpy as np
import pytest
from loops import on_loop

from flowserve.core.datatypes import DATATYPES
from flowserve.core.engine.calls import Call, Overloaded
from flowserve.core.engine.profile import Profile
from flowserve.core.models.model import ByModel, Model
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.alike import Alike
from flowserve.core.wire.answers import refusal
from flowserve.core.wire.heads import Received
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.wire.refusals import Refusals

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("y", FP32, (-1,)),))
TARGET = b"/v2/models/held/infer"
TIMEOUT_MS = 50.0


def body(data: str = "[3]", timeout_ms: float = TIMEOUT_MS) -> bytes:
    tensor = f'{{"name": "x", "shape": [1], "datatype": "FP32", "data": {data}}}'
    return f'{{"inputs": [{tensor}], "parameters": {{"timeout": {timeout_ms * 1000:.0f}}}}}'.encode()


class Crowd:
    """A model of which one call runs until it is let go, and another waits."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.engine = LoopEngine(asyncio.get_running_loop())
        self.model = Model("held", 1, SIGNATURE, self.run, ModelSettings(concurrency=1))
        self.engine.adopt(self.model, Profile({1: 100.0}))
        self.calls = [self.call(), self.call()]
        self.answers: dict[int, int] = {}
        readers = ByModel(lambda model: Alike(model.signature))
        self.refusals = Refusals(self.engine, readers, self.answers)
        readers.of(self.model).read(body())  # the one that was read first

    def run(self, feed, outputs):
        self.gate.wait(20)
        return [feed["x"]]

    def call(self) -> asyncio.Future:
        future = asyncio.get_running_loop().create_future()
        feed = {"x": np.zeros(1, np.float32)}
        self.engine.submit(Call(self.model, feed, ("y",), 1, future.set_result))
        return future

    def refuse(self) -> bytes:
        """Refuse a request as an exchange does; return what is told."""
        with pytest.raises(Overloaded) as caught:
            self.engine.gate.check(self.model, 1, self.engine.now_ms() + TIMEOUT_MS, -1)
        answer = refusal(caught.value)
        self.refusals.learn(Received(target=TARGET, body=body()), self.model, answer)
        return answer.body


@contextlib.asynccontextmanager
async def crowd():
    made = Crowd()
    try:
        yield made
    finally:
        made.gate.set()
        await asyncio.gather(*made.calls)
        made.engine.close()


@on_loop
async def test_who_asks_for_the_same_is_told_the_same_and_counted():
    async with crowd() as made:
        told = made.refuse()
        sent = made.refusals.again(Received(target=TARGET, body=body("[4.25]")))
        assert sent.startswith(b"HTTP/1.1 503 ")
        assert b"\r\nRetry-After: " in sent
        assert sent.endswith(told)
        assert made.answers == {503: 1}
        assert made.engine.tally(made.model).refusals == {(503, "FS221"): 1}


@on_loop
async def test_who_asks_for_something_else_is_not():
    async with crowd() as made:
        made.refuse()
        others = [
            Received(target=b"/v2/models/other/infer", body=body()),
            Received(target=TARGET, body=body(timeout_ms=10_000)),
            Received(target=TARGET, body=body().replace(b'"x"', b'"z"')),
            Received(target=TARGET, body=body(), coding="gzip"),
            Received(target=TARGET, body=body(), header_bytes=b"10"),
            Received(target=TARGET, body=b""),
        ]
        assert [made.refusals.again(received) for received in others] == [None] * len(others)
        assert made.answers == {}


@on_loop
async def test_a_refusal_stands_while_the_engine_would_say_it_again():
    async with crowd() as made:
        made.refuse()
        now_ms = made.engine.now_ms()
        made.engine.gate.now_ms = lambda: now_ms + 50  # long after it was looked at
        assert made.refusals.again(Received(target=TARGET, body=body()))
        made.gate.set()
        await asyncio.gather(*made.calls)
        made.engine.gate.now_ms = lambda: now_ms + 60
        assert made.refusals.again(Received(target=TARGET, body=body())) is None
        assert made.refusals.standing
        made.engine.gate.now_ms = lambda: now_ms + 1000  # said too long ago: what it says is no longer so
        assert made.refusals.again(Received(target=TARGET, body=body())) is None
        assert not made.refusals.standing
