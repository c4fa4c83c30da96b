"""The engine on a real loop and threads, with models that are plain functions."""

import asyncio
import gc
import threading
from itertools import pairwise

import numpy as np
import pytest
from loops import on_loop

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.datatypes import DATATYPES
from flowserve.core.engine.calls import Call, Overloaded
from flowserve.core.engine.profile import Profile
from flowserve.core.models.model import Model
from flowserve.core.models.seat import Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.shell.engine.engine import LoopEngine, Settings
from flowserve.shell.engine.running import run
from flowserve.shell.engine.warmup import measure

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("x", FP32, (-1,)),), (TensorSpec("y", FP32, (-1,)),))
FAST = Profile({1: 0.01, 64: 0.02})
SLOW = Profile({1: 100.0})
JOINS = Profile({1: 0.1, 2: 0.1, 64: 0.2}, independent=True)
JOINS_ON_THREADS = Profile({1: 10.0, 2: 10.0, 64: 10.0}, independent=True)


class Watched:
    """A model that doubles, and remembers how it was run."""

    def __init__(self, before=lambda x: None):
        self.rows, self.threads, self.before = [], [], before

    def __call__(self, feed, outputs):
        self.rows.append(len(feed["x"]))
        self.threads.append(threading.current_thread())
        self.before(feed["x"])
        return [feed["x"] * 2]


def made(run, profile=None, threads=16, **settings):
    engine = LoopEngine(asyncio.get_running_loop(), Settings(threads=threads))
    model = Model("double", 1, SIGNATURE, run, ModelSettings(**settings))
    if profile is not None:
        engine.adopt(model, profile)
    return engine, model


def asked(engine, model, *values, **named):
    """Submit a call; return it and the future of what it is told."""
    future = asyncio.get_running_loop().create_future()
    call = Call(model, {"x": np.array(values, np.float32)}, ("y",), len(values), future.set_result, **named)
    engine.submit(call)
    return call, future


def told(future):
    result = future.result()
    return result if isinstance(result, Refused) else result[0].tolist()


@on_loop
async def test_what_is_short_is_over_before_submit_returns():
    run = Watched()
    engine, model = made(run, FAST)
    assert told(asked(engine, model, 1, 2)[1]) == [2, 4]
    assert run.threads == [threading.main_thread()]


@on_loop
async def test_what_is_long_or_unknown_runs_on_a_thread():
    for profile in (SLOW, None):
        run = Watched()
        engine, model = made(run, profile)
        _, future = asked(engine, model, 1)
        assert not future.done()
        await future
        assert told(future) == [2]
        assert run.threads[0] is not threading.main_thread()


@on_loop
async def test_many_rows_of_a_small_model_are_long():
    run = Watched()
    engine, model = made(run, FAST)
    await asked(engine, model, *range(10_000))[1]
    assert run.threads[0] is not threading.main_thread()


@on_loop
async def test_a_slow_model_does_not_hold_up_a_fast_one():
    gate = threading.Event()
    engine, slow = made(Watched(lambda x: gate.wait(20)), SLOW, threads=4, concurrency=2)
    fast = Model("fast", 1, SIGNATURE, Watched())
    medium = Model("medium", 1, SIGNATURE, Watched())
    engine.adopt(fast, FAST)
    engine.adopt(medium, SLOW)
    waiting = [asked(engine, slow, i)[1] for i in range(10)]
    assert told(asked(engine, fast, 5)[1]) == [10]
    _, on_thread = asked(engine, medium, 6)
    await on_thread
    assert told(on_thread) == [12]
    assert not any(future.done() for future in waiting)
    gate.set()
    await asyncio.gather(*waiting)


@on_loop
async def test_with_all_threads_taken_models_wait_for_their_turn():
    engine, first = made(Watched(), SLOW, threads=1)
    second = Model("second", 1, SIGNATURE, Watched())
    engine.adopt(second, SLOW)
    futures = [asked(engine, model, i)[1] for i, model in enumerate((first, second, first, second))]
    await asyncio.gather(*futures)
    assert [told(future) for future in futures] == [[0], [2], [4], [6]]


@pytest.mark.parametrize("profile", [JOINS, JOINS_ON_THREADS])
def test_what_arrives_in_a_turn_of_the_loop_runs_together(profile):
    @on_loop
    async def check():
        run = Watched()
        engine, model = made(run, profile)
        calls, futures = zip(*(asked(engine, model, *range(i)) for i in range(1, 5)), strict=True)
        await asyncio.gather(*futures)
        assert [told(future) for future in futures] == [[0], [0, 2], [0, 2, 4], [0, 2, 4, 6]]
        assert run.rows == [10]
        assert [call.run_rows for call in calls] == [10] * 4

    check()


@on_loop
async def test_what_arrives_while_a_batch_runs_makes_the_next():
    gate, started = threading.Event(), threading.Event()

    def before(x):
        started.set()
        gate.wait(20)

    run = Watched(before)
    engine, model = made(run, JOINS_ON_THREADS, concurrency=1)
    futures = [asked(engine, model, 1)[1]]
    await asyncio.to_thread(started.wait)
    futures += [asked(engine, model, i)[1] for i in range(5)]
    await asyncio.sleep(0)
    gate.set()
    await asyncio.gather(*futures)
    assert run.rows == [1, 5]


@on_loop
async def test_who_is_alone_turn_after_turn_is_not_kept_for_others():
    engine, model = made(Watched(), JOINS)
    at_once = 0
    for _ in range(60):
        _, future = asked(engine, model, 1)
        at_once += future.done()
        await future
    assert at_once > 40
    futures = [asked(engine, model, 1)[1] for _ in range(60)]
    assert not all(future.done() for future in futures), "it looks again whether there are others"
    await asyncio.gather(*futures)


@on_loop
async def test_one_bad_request_of_a_batch_fails_alone():
    def picky(feed, outputs):
        if (feed["x"] < 0).any():
            refuse("FS210", "the model failed")
        return [feed["x"] * 2]

    engine, model = made(picky, JOINS)
    futures = [asked(engine, model, value)[1] for value in (1, -1, 2)]
    await asyncio.gather(*futures)
    assert told(futures[0]) == [2]
    assert isinstance(told(futures[1]), Refused)
    assert told(futures[2]) == [4]


@on_loop
async def test_a_model_that_gives_other_rows_than_it_was_given_is_not_joined_again():
    run = Watched()

    def first_row(feed, outputs):
        return [run(feed, outputs)[0][:1]]

    engine, model = made(first_row, JOINS)
    for _ in range(2):
        futures = [asked(engine, model, value)[1] for value in (1, 2)]
        await asyncio.gather(*futures)
        assert [told(future) for future in futures] == [[2], [4]]
    assert run.rows == [2, 1, 1, 1, 1]


@on_loop
async def test_a_model_that_breaks_is_a_refusal():
    def broken(feed, outputs):
        raise ZeroDivisionError("secret")

    for profile in (FAST, SLOW):
        engine, model = made(broken, profile)
        _, future = asked(engine, model, 1)
        await future
        assert "secret" not in str(told(future))
        assert told(future).diagnostics[0].code == "FS210"


@on_loop
async def test_who_has_left_is_dropped_and_not_told():
    gate, started = threading.Event(), threading.Event()

    def before(x):
        started.set()
        gate.wait(20)

    run = Watched(before)
    engine, model = made(run, SLOW, concurrency=1)
    running, first = asked(engine, model, 1)
    await asyncio.to_thread(started.wait)
    waiting, second = asked(engine, model, 2, 2)
    _, third = asked(engine, model, 3, 3, 3)
    engine.cancel(running)
    engine.cancel(waiting)
    gate.set()
    await third
    assert run.rows == [1, 3]
    assert not first.done()
    assert not second.done()


@on_loop
async def test_too_many_are_refused_at_once():
    gate = threading.Event()
    engine, model = made(Watched(lambda x: gate.wait(20)), SLOW, concurrency=1, queue=2)
    futures = [asked(engine, model, 1)[1] for _ in range(4)]
    refused = told(futures[3])
    assert isinstance(refused, Overloaded)
    assert (refused.diagnostics[0].code, refused.retry_after_s) == ("FS220", 1)
    gate.set()
    await asyncio.gather(*futures[:3])


@on_loop
async def test_who_could_not_be_in_time_is_refused_at_once():
    gate = threading.Event()
    engine, model = made(Watched(lambda x: gate.wait(20)), SLOW, concurrency=1)
    _, first = asked(engine, model, 1)
    _, late = asked(engine, model, 1, deadline_ms=engine.now_ms() + 50)
    assert told(late).diagnostics[0].code == "FS221"
    _, later = asked(engine, model, 1, deadline_ms=engine.now_ms() - 1)
    assert told(later).diagnostics[0].code == "FS222"
    gate.set()
    await first


@on_loop
async def test_a_deadline_that_passes_while_a_run_does_not_end():
    gate = threading.Event()
    engine, model = made(Watched(lambda x: gate.wait(20)), Profile({1: 1.0}), concurrency=1)
    _, first = asked(engine, model, 1)
    _, late = asked(engine, model, 1, deadline_ms=engine.now_ms() + 20)
    await late
    assert told(late).diagnostics[0].code == "FS222"
    assert not first.done()
    gate.set()
    await first


@on_loop
async def test_what_was_learned_of_a_model_ends_with_it():
    engine, model = made(double := Watched(), FAST)
    asked(engine, model, 1)
    del model, double
    gc.collect()
    assert list(engine._lanes) == []


def test_a_warm_up_measures_and_finds_that_rows_are_independent():
    profile = measure(Model("m", 1, SIGNATURE, lambda feed, outputs: [feed["x"] * 2]))
    assert profile.independent
    assert {1, 2, 64} <= set(profile.joined_ms) <= {1, 2, 4, 8, 16, 32, 64}
    assert 0 not in profile.joined_ms.values()


@pytest.mark.parametrize(
    "run",
    [
        lambda feed, outputs: [feed["x"] - feed["x"].mean()],
        lambda feed, outputs: [feed["x"][:1]],
        lambda feed, outputs: [np.sort(feed["x"])[::-1]],
    ],
)
def test_a_warm_up_finds_rows_that_depend_on_each_other(run):
    assert not measure(Model("m", 1, SIGNATURE, run)).independent


def test_a_refusal_does_not_keep_what_it_came_from():
    def fail(feed, outputs):
        refuse("FS210", "the model failed")

    refused = run(Model("m", 1, SIGNATURE, fail), {}, ())
    assert refused.diagnostics[0].code == "FS210"
    assert refused.__traceback__ is None, "its frames would keep the session, and its memory on a GPU"


def test_on_a_gpu_a_number_of_rows_is_measured_after_another():
    ran = []

    def run(feed, outputs):
        ran.append(len(feed["x"]))
        return [feed["x"]]

    measure(Model("m", 1, SIGNATURE, run, seat=Seat("gpu:0")), 10_000.0)
    assert 64 in ran, "cuDNN plans anew whenever it changes, and in batches it does"
    assert all(before != after for before, after in pairwise(ran) if after > 1)


def test_a_warm_up_bears_a_model_that_refuses_what_is_made_up():
    def picky(feed, outputs):
        refuse("FS210", "the model failed")

    assert measure(Model("m", 1, SIGNATURE, picky)) == Profile()


def test_a_warm_up_of_a_model_without_rows_runs_it():
    fixed = Signature((TensorSpec("x", FP32, (2,)),), (TensorSpec("y", FP32, (2,)),))
    profile = measure(Model("m", 1, fixed, lambda feed, outputs: [feed["x"]]))
    assert (list(profile.joined_ms), profile.independent) == ([1], False)


@on_loop
async def test_what_was_answered_is_answered_again_without_a_run():
    run = Watched()
    engine, model = made(run, JOINS, cache_mb=1)
    first = [asked(engine, model, value)[1] for value in (1, 2)]
    await asyncio.gather(*first)
    _, again = asked(engine, model, 2)
    assert told(again) == [4]
    assert run.rows == [2]
    tally = engine.tally(model)
    assert (tally.hits, tally.misses, tally.succeeded, tally.rows) == (1, 2, 3, 2)
    engine.adopt(model, JOINS)  # as one that is loaded again is
    await asked(engine, model, 2)[1]
    assert run.rows == [2, 1]


@on_loop
async def test_a_refusal_is_not_kept():
    answers = iter([Refused, None])

    def picky(feed, outputs):
        if next(answers):
            refuse("FS210", "the model failed")
        return [feed["x"] * 2]

    engine, model = made(picky, FAST, cache_mb=1)
    assert isinstance(told(asked(engine, model, 1)[1]), Refused)
    assert told(asked(engine, model, 1)[1]) == [2]


@on_loop
async def test_a_request_that_says_nothing_has_the_model_s_deadline_and_priority():
    gate = threading.Event()
    said = {"timeout_ms": 30, "timeout_ms_max": 40, "priority": 3, "concurrency": 1}
    engine, model = made(Watched(lambda x: gate.wait(20)), Profile({1: 1.0}), **said)
    _, first = asked(engine, model, 1)
    _, late = asked(engine, model, 1)
    _, later = asked(engine, model, 1, deadline_ms=engine.now_ms() + 1e6)
    await asyncio.gather(late, later)
    assert {told(one).diagnostics[0].code for one in (late, later)} == {"FS222"}
    waiting = [asked(engine, model, 1, **named)[0] for named in ({}, {"priority": 0})]
    assert [engine._dispatch.waiting[call][1].priority for call in waiting] == [2, 0]
    gate.set()
    await first


def on_gpu(engine, run, name="g", space="gpu:0", **settings):
    model = Model(name, 1, SIGNATURE, run, ModelSettings(concurrency=1, **settings), seat=Seat(space))
    engine.adopt(model, FAST)
    return model


@on_loop
async def test_what_computes_on_a_gpu_never_runs_on_the_loop_however_short():
    engine, _ = made(Watched())
    run = Watched()
    model = on_gpu(engine, run, batching="off")
    for value in (1, 2):
        _, future = asked(engine, model, value)
        assert not future.done()
        await future
        assert told(future) == [2.0 * value]
    assert threading.main_thread() not in run.threads
    engine.close()


@on_loop
async def test_models_of_a_gpu_wait_for_its_threads_and_no_others():
    gate, begun = threading.Event(), threading.Semaphore(0)
    engine, here = made(Watched(), SLOW, threads=1)
    waiting = [Watched(lambda x: begun.release() or gate.wait(20)) for _ in range(6)]
    models = [on_gpu(engine, run, f"g{i}", batching="off") for i, run in enumerate(waiting)]
    elsewhere = on_gpu(engine, Watched(), "h", "gpu:1", batching="off")
    futures = [asked(engine, model, 1)[1] for model in models]
    assert engine.uses_threads
    for model in (here, elsewhere):
        _, future = asked(engine, model, 3)
        await future
        assert told(future) == [6.0]
    assert sum(engine.waiting(model) for model in models) == 2, "there are four threads for a GPU"
    for _ in range(4):
        assert await asyncio.to_thread(begun.acquire, timeout=20)
    gate.set()
    await asyncio.gather(*futures)
    assert not engine.uses_threads
    assert len({thread for run in waiting for thread in run.threads}) == 4
    engine.close()
