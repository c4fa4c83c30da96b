"""Requests on their way through pipelines, on a real engine, with models that are plain functions."""

import asyncio
import threading

import numpy as np
import pytest
from loops import on_loop

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.datatypes import DATATYPES
from flowserve.core.engine.calls import Call, Overloaded
from flowserve.core.engine.profile import Profile
from flowserve.core.models.model import Bound, Model
from flowserve.core.models.pipeline import fit, read_pipeline
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.shell.engine.engine import LoopEngine

FP32 = DATATYPES["FP32"]
ONE = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("y", FP32, (-1,)),))
TWO = Signature((TensorSpec("a", FP32, (-1,)), TensorSpec("b", FP32, (-1,))), ONE.outputs)
FAST = Profile({1: 0.01, 64: 0.02})
SLOW = Profile({1: 100.0})
JOINS_ON_THREADS = Profile({1: 10.0, 2: 10.0, 64: 10.0}, independent=True)

DIAMOND = """
inputs = ["x"]
outputs = ["left", "sum"]
[[step]]
model = "sum"
inputs = { a = "left", b = "right" }
outputs = { y = "sum" }
[[step]]
model = "left"
inputs = { x = "x" }
outputs = { y = "left" }
[[step]]
model = "right"
inputs = { x = "x" }
outputs = { y = "right" }
"""


def model(engine, name, run, profile=FAST, signature=ONE, **settings):
    made = Model(name, 1, signature, run, ModelSettings(**settings))
    engine.adopt(made, profile)
    return made


def pipeline(text, *members, **settings):
    document = read_pipeline(text, "p.toml")
    signature = fit(document, [member.signature for member in members])
    return Model(
        "p", 1, signature, lambda *_: [], ModelSettings(**settings), Bound(document.pipeline, members)
    )


def diamond(engine, left, right, profile=FAST, **settings):
    added = model(engine, "sum", lambda feed, _: [feed["a"] + feed["b"]], signature=TWO)
    sides = [model(engine, name, run, profile) for name, run in (("left", left), ("right", right))]
    return pipeline(DIAMOND, added, *sides, **settings)


def doubles(feed, outputs):
    return [feed["x"] * 2]


def squares(feed, outputs):
    return [feed["x"] ** 2]


def asked(engine, model, *values, outputs=("left", "sum"), **named):
    future = asyncio.get_running_loop().create_future()
    call = Call(model, {"x": np.float32(values)}, outputs, len(values), future.set_result, **named)
    engine.submit(call)
    return call, future


def told(future):
    result = future.result()
    return result if isinstance(result, Refused) else [array.tolist() for array in result]


@pytest.mark.parametrize("profile", [FAST, SLOW])
def test_outputs_are_inputs_of_others(profile):
    @on_loop
    async def check():
        engine = LoopEngine(asyncio.get_running_loop())
        p = diamond(engine, doubles, squares, profile)
        _, future = asked(engine, p, 3, 4)
        assert future.done() == (profile is FAST), "what is short is over before submit returns"
        await future
        assert told(future) == [[6, 8], [15, 24]]
        counted = engine.tally(p)
        assert (counted.succeeded, counted.rows) == (1, 2)
        assert [engine.tally(member).succeeded for member in p.bound.members] == [1, 1, 1]

    check()


@on_loop
async def test_only_what_is_needed_runs():
    engine = LoopEngine(asyncio.get_running_loop())
    p = diamond(engine, doubles, squares)
    _, future = asked(engine, p, 3, outputs=("left",))
    assert told(future) == [[6]]
    assert [engine.tally(member).succeeded for member in p.bound.members] == [0, 1, 0]


@on_loop
async def test_steps_that_do_not_wait_for_each_other_run_side_by_side():
    both = threading.Barrier(2, timeout=10)

    def meets(feed, outputs):
        both.wait()
        return [feed["x"]]

    engine = LoopEngine(asyncio.get_running_loop())
    _, future = asked(engine, diamond(engine, meets, meets, SLOW), 3)
    await future
    assert told(future) == [[3], [6]]


@on_loop
async def test_members_are_batched_with_other_requests():
    rows = []

    def watched(feed, outputs):
        rows.append(len(feed["x"]))
        return [feed["x"] * 2]

    engine = LoopEngine(asyncio.get_running_loop())
    first = model(engine, "first", watched, JOINS_ON_THREADS)
    text = 'inputs=["x"]\noutputs=["y"]\n[[step]]\nmodel="first"\ninputs={x="x"}\noutputs={y="y"}'
    p = pipeline(text, first)
    futures = [asked(engine, one, value, outputs=("y",))[1] for one, value in ((p, 1), (first, 2), (p, 3))]
    await asyncio.gather(*futures)
    assert [told(future) for future in futures] == [[[2]], [[4]], [[6]]]
    assert rows == [3]


@on_loop
async def test_a_refusal_says_which_step_and_ends_the_others():
    gate, started = threading.Event(), threading.Event()

    def waits(feed, outputs):
        started.set()
        gate.wait(10)
        return [feed["x"]]

    def picky(feed, outputs):
        started.wait(10)
        refuse("FS205", "the shape of input `x` must be another")

    engine = LoopEngine(asyncio.get_running_loop())
    p = diamond(engine, waits, picky, SLOW)
    _, future = asked(engine, p, 3)
    await future
    (diagnostic,) = told(future).diagnostics
    assert diagnostic.code == "FS210", "it is not the client's mistake"
    assert diagnostic.message == "in step 3 (`right`): the shape of input `x` must be another"
    gate.set()
    assert engine.tally(p).failed == 1


@on_loop
async def test_what_a_step_gives_must_fit_the_next():
    engine = LoopEngine(asyncio.get_running_loop())
    first = model(engine, "first", lambda feed, _: [feed["x"]])
    fixed = Signature((TensorSpec("x", FP32, (2,)),), (TensorSpec("y", FP32, (-1,)),))
    second = model(engine, "second", doubles, signature=fixed)
    text = (
        'inputs=["x"]\noutputs=["y"]\n[[step]]\nmodel="first"\ninputs={x="x"}\noutputs={y="z"}\n'
        '[[step]]\nmodel="second"\ninputs={x="z"}\noutputs={y="y"}'
    )
    p = pipeline(text, first, second)
    assert told(asked(engine, p, 1, 2, outputs=("y",))[1]) == [[2, 4]]
    refused = told(asked(engine, p, 1, 2, 3, outputs=("y",))[1])
    assert "step 2 (`second`): the model takes x FP32[2], and was given the shape [3]" in str(refused)


@on_loop
async def test_deadlines_and_priorities_are_those_of_the_request():
    gate = threading.Event()

    def waits(feed, outputs):
        gate.wait(10)
        return [feed["x"]]

    engine = LoopEngine(asyncio.get_running_loop())
    first = model(engine, "first", waits, Profile({1: 1.0}), concurrency=1)
    text = 'inputs=["x"]\noutputs=["y"]\n[[step]]\nmodel="first"\ninputs={x="x"}\noutputs={y="y"}'
    p = pipeline(text, first, timeout_ms=30, priority=2)
    begun = asked(engine, first, 1, outputs=("y",))[1]
    call, late = asked(engine, p, 1, outputs=("y",))
    (step,) = engine._dispatch.waiting
    assert (step.priority, step.deadline_ms) == (1, call.deadline_ms)
    await late
    assert isinstance(told(late), Overloaded)
    assert told(late).diagnostics[0].code == "FS222"
    assert "in step 1 (`first`)" in str(told(late))
    gate.set()
    await begun


@on_loop
async def test_who_has_left_is_dropped():
    gate, ran = threading.Event(), []

    def waits(feed, outputs):
        gate.wait(10)
        return [feed["x"]]

    engine = LoopEngine(asyncio.get_running_loop())
    p = diamond(engine, waits, lambda feed, _: ran.append(1) or [feed["x"]], SLOW)
    other = model(engine, "other", waits, SLOW)
    call, future = asked(engine, p, 3)
    engine.cancel(call)
    gate.set()
    await asked(engine, other, 3, outputs=("y",))[1]
    assert not future.done()
    assert engine._passages == {}
    assert engine.tally(p.bound.members[0]).succeeded == 0


@on_loop
async def test_a_pipeline_has_a_cache_of_its_own():
    engine = LoopEngine(asyncio.get_running_loop())
    p = diamond(engine, doubles, squares, cache_mb=1)
    answers = [told(asked(engine, p, 3)[1]) for _ in range(3)]
    assert answers == [[[6], [15]]] * 3
    assert engine.tally(p).hits == 2
    assert [engine.tally(member).succeeded for member in p.bound.members] == [1, 1, 1]
