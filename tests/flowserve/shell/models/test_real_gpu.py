"""What the made-up GPUs of other tests are made after, on a real one."""

import os

import numpy as np
import onnxruntime
import pytest

from benchmarks import serve_gpu, serving
from flowc.plan.diagnostics import Refused
from flowserve.core.models.key import Key
from flowserve.core.models.settings import ModelSettings
from flowserve.shell.models import gpus
from flowserve.shell.models.loading import load_measured
from flowserve.shell.models.repository import publish
from flowserve.shell.models.seating import Seating
from flowserve.shell.models.seats import Seats
from flowserve.shell.processes.gpus import has_cuda

MB = 2**20
FOUND = gpus.detect(os.environ, print) if has_cuda() else []
pytestmark = pytest.mark.skipif(not FOUND, reason="needs a GPU that NVML shows, and onnxruntime-gpu")
MODELS = {
    "perceptron": (serving.perceptron(serving.MEDIUM), serving.MEDIUM[:1]),
    "convolutions": (serve_gpu.convolutions((3, 16, 32), 64), (3, 64, 64)),
}


def loaded(folder, name, **said):
    gpu = FOUND[0]
    version = publish(folder, name, MODELS[name][0]).version
    seats = Seats([gpu])
    seats.begin(gpu.space)
    files_bytes = len(MODELS[name][0])
    seating = Seating(seats.expected(Key(name, version), gpu.space, files_bytes), gpu, files_bytes)
    return load_measured(folder, Key(name, version), ModelSettings(**said), 200, seating)[0]


def feed(name, rows):
    shape = (rows, *MODELS[name][1])
    return {"input": np.random.default_rng(rows).standard_normal(shape).astype(np.float32)}


def run_more_and_more(model, name):
    for doubled in range(7, 20):
        model.run(feed(name, 2**doubled), ["output"])


def taken_mb():
    held = gpus.held(FOUND[0])
    return (FOUND[0].bytes - held.free if held.own is None else held.own) / MB


@pytest.mark.parametrize("name", MODELS)
def test_it_gives_what_the_cpu_gives_whatever_is_beside_it(tmp_path, name):
    model = loaded(tmp_path, name)
    assert model.seat.bounded
    rows = feed(name, 5)
    session = onnxruntime.InferenceSession(MODELS[name][0], providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, rows)
    (together,) = model.run(rows, ["output"])
    alone = [model.run({"input": row[None]}, ["output"])[0][0] for row in rows["input"]]
    scale = np.abs(expected).max()
    assert np.abs(together - expected).max() <= 1e-5 * scale
    assert np.abs(np.stack(alone) - expected).max() <= 1e-5 * scale


def test_batches_help_a_perceptron(tmp_path):
    assert loaded(tmp_path, "perceptron").settings.batching == "on"


@pytest.mark.parametrize("name", MODELS)
def test_within_the_bound_any_number_of_rows_runs_and_beyond_it_one_fails_alone(tmp_path, name):
    model = loaded(tmp_path, name)
    before_mb = taken_mb()
    for rows in (1, 64, 2, 63, 33, 64, 7, 48, 64):
        model.run(feed(name, rows), ["output"])
    with pytest.raises(Refused, match=r"FS210.*smaller than requested") as refused:
        run_more_and_more(model, name)
    assert "onnxruntime_src" not in str(refused.value)
    assert len(model.run(feed(name, 64), ["output"])[0]) == 64
    assert taken_mb() - before_mb <= model.seat.bytes / MB


def test_what_it_took_is_free_when_it_is_gone(tmp_path):
    loaded(tmp_path, "perceptron")  # and with it what CUDA's libraries load once
    before_mb = taken_mb()
    model = loaded(tmp_path, "perceptron")
    assert 0 < taken_mb() - before_mb <= model.seat.bytes / MB
    del model
    assert taken_mb() == pytest.approx(before_mb, abs=4)
