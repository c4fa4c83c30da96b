"""Models are loaded onto GPUs, by a made-up onnxruntime and driver, and what they take there is measured."""

import threading

import numpy as np
import pytest
from fake_cuda import CONTEXT_MB, CPU, CUDA, TENSORRT, Cuda
from fake_nvml import MB, Driver
from onnx import TensorProto, helper

from flowc.plan.diagnostics import Refused
from flowserve.core.models.key import Key
from flowserve.core.models.seat import Gpu, Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.shell.models import gpus, seating, seats, sessions
from flowserve.shell.models.loading import load_measured
from flowserve.shell.models.repository import publish
from flowserve.shell.models.seating import Seating, bound
from flowserve.shell.models.seats import Seats

GPU = Gpu(0, "NVIDIA A100", "GPU-aa", 4000 * MB)
ESTIMATED = Seat("gpu:0", 50 * MB)


@pytest.fixture(autouse=True)
def _anew(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for remembered in (gpus._nvml, seats._begin, sessions._preload):
        remembered.cache_clear()
    yield
    gpus._nvml.cache_clear()


@pytest.fixture
def driver(monkeypatch):
    return Driver(monkeypatch, [("NVIDIA A100", "GPU-aa", 5000)])


def graph(op, shape):
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    made = helper.make_graph([helper.make_node(op, ["x"], ["y"])], "g", [x], [y])
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(made, opset_imports=opsets, ir_version=8).SerializeToString()


def loaded(folder, op="Neg", seat=ESTIMATED, shape=("n",), **said):
    version = publish(folder / "models", "m", graph(op, list(shape))).version
    Seats([GPU]).begin(GPU.space)
    of = Seating(seat, GPU, 10 * MB)
    return load_measured(folder / "models", Key("m", version), ModelSettings(**said), 20, of)


def held_mb(driver):
    return sum(driver.taken["GPU-aa"].values())


# 100 MB of weights and 64 rows of 1 MB, a quarter more, and 32 MB.
MEASURED = bound(164 * MB, 10 * MB, 1)


@pytest.mark.parametrize("tells", [True, False])
def test_it_is_measured_with_as_many_rows_as_it_will_run_and_bounded_by_that(
    monkeypatch, driver, tmp_path, tells
):
    driver.tells = tells
    cuda = Cuda(monkeypatch, driver)
    model, profile = loaded(tmp_path)
    assert model.seat == Seat("gpu:0", MEASURED, bounded=True)
    assert int(164 * MB * 1.25) + 32 * MB == MEASURED
    assert (model.settings.providers, model.settings.device) == ("cuda", 0)
    assert model.run({"x": np.ones(2, np.float32)}, ["y"])[0].tolist() == [-1.0, -1.0]
    begun, first, second = cuda.made
    assert list(first) == [CUDA, CPU]
    assert first[CUDA] == {
        "device_id": "0",
        "arena_extend_strategy": "kSameAsRequested",
        "cudnn_conv_algo_search": "HEURISTIC",
        "do_copy_in_default_stream": "True",
        "use_tf32": "0",
        "gpu_mem_limit": str(GPU.bytes),
    }
    assert second[CUDA] == first[CUDA] | {"gpu_mem_limit": str(MEASURED)}
    assert "gpu_mem_limit" not in begun[CUDA]
    assert held_mb(driver) == CONTEXT_MB + 164, "the first session is gone, and the second has run"
    del model, profile
    assert held_mb(driver) == CONTEXT_MB


def test_one_run_at_a_time_unless_more_are_said_which_take_more_memory(monkeypatch, driver, tmp_path):
    Cuda(monkeypatch, driver)
    model, profile = loaded(tmp_path)
    assert (model.settings.concurrency, model.settings.threads) == (1, 1)
    assert not profile.on_cpu
    assert {1, 2, 64} <= set(profile.joined_ms), "whether batches help is measured as ever"
    model, _ = loaded(tmp_path, concurrency=3, max_rows=100)
    assert model.settings.concurrency == 3
    assert model.seat.bytes == bound(200 * MB, 10 * MB, 3) == int((200 + 2 * 190) * MB * 1.25) + 32 * MB


def test_what_threads_take_beside_the_arena_is_counted_and_not_of_its_bound(monkeypatch, driver, tmp_path):
    cuda = Cuda(monkeypatch, driver, thread_mb=64)
    model, _ = loaded(tmp_path)
    beside = 4 * 64 * MB
    assert model.seat == Seat("gpu:0", MEASURED + beside, bounded=True, beside=beside)
    assert cuda.made[-1][CUDA]["gpu_mem_limit"] == str(MEASURED)
    assert held_mb(driver) == CONTEXT_MB + 164 + 64, "what loaded it has ended, and left a workspace"

    met = threading.Barrier(4)

    def run():
        met.wait(10)
        model.run({"x": np.ones(64, np.float32)}, ["y"])
        met.wait(10)

    for of in [in_threads(run, 4), in_threads(run, 4)]:
        of()
    assert held_mb(driver) == CONTEXT_MB + 164 + 4 * 64
    assert (held_mb(driver) - CONTEXT_MB) * MB <= model.seat.bytes
    loaded(tmp_path, seat=model.seat)
    assert cuda.made[-1][CUDA]["gpu_mem_limit"] == str(MEASURED), "as it was"


def in_threads(work, count):
    def go():
        threads = [threading.Thread(target=work) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)

    return go


def test_what_is_known_is_loaded_once(monkeypatch, driver, tmp_path):
    cuda = Cuda(monkeypatch, driver)
    seat = Seat("gpu:0", 300 * MB, bounded=True)
    assert loaded(tmp_path, seat=seat)[0].seat == seat
    assert [made[CUDA].get("gpu_mem_limit") for made in cuda.made] == [None, str(300 * MB)]


def test_a_run_that_needs_more_fails_alone(monkeypatch, driver, tmp_path):
    Cuda(monkeypatch, driver)
    model, _ = loaded(tmp_path)
    with pytest.raises(Refused) as refused:
        model.run({"x": np.ones(500, np.float32)}, ["y"])
    (said,) = refused.value.diagnostics
    assert (said.code, said.hint) == ("FS210", "`gpu_memory_mb` gives the model more of the GPU's memory")
    assert said.message.startswith(
        "the model failed: Non-zero status code returned while running Gemm node. Name:'' Status Message: "
        "Available memory of "
    )
    assert model.run({"x": np.ones(1, np.float32)}, ["y"])[0].tolist() == [-1.0]


def test_an_arena_in_pieces_is_tidied_for_what_would_fit_a_new_one(monkeypatch, driver, tmp_path):
    Cuda(monkeypatch, driver, pieces=True)
    model, _ = loaded(tmp_path)
    for rows in (1, 64, 66, 90, 2, 100):
        assert len(model.run({"x": np.ones(rows, np.float32)}, ["y"])[0]) == rows
    with pytest.raises(Refused, match=r"FS210.*smaller than requested"):
        model.run({"x": np.ones(500, np.float32)}, ["y"])


def test_what_has_no_room_on_the_gpu_does_not_load(monkeypatch, driver, tmp_path):
    Cuda(monkeypatch, driver, weights_mb=4001)
    with pytest.raises(Refused, match=r"FS103.*smaller than requested"):
        loaded(tmp_path)
    assert held_mb(driver) == CONTEXT_MB


@pytest.mark.parametrize("too_small", [90 * MB, 150 * MB])  # for the weights, and for a run
def test_a_bound_that_was_too_small_bounds_nothing(monkeypatch, driver, tmp_path, too_small):
    cuda = Cuda(monkeypatch, driver)
    monkeypatch.setattr(seating, "bound", lambda *of: too_small)
    model, _ = loaded(tmp_path)
    assert model.seat.bytes == too_small
    limits = [made[CUDA].get("gpu_mem_limit") for made in cuda.made]
    assert limits == [None, str(GPU.bytes), str(too_small), str(GPU.bytes)]
    assert held_mb(driver) == CONTEXT_MB + 164, "those that did not do are gone"


def test_what_has_other_sizes_left_open_is_measured_and_not_bounded(monkeypatch, driver, tmp_path):
    cuda = Cuda(monkeypatch, driver)
    model, _ = loaded(tmp_path, shape=["n", "length"])
    assert model.seat == Seat("gpu:0", MEASURED), "longer rows than those of length 1 may come"
    assert [made[CUDA].get("gpu_mem_limit") for made in cuda.made] == [None, str(GPU.bytes)]
    model.run({"x": np.ones((8, 100), np.float32)}, ["y"])
    assert held_mb(driver) == CONTEXT_MB + 164, "what it took that was larger than ever it gave back"


def test_an_axis_that_is_not_open_is_run_in_its_size(monkeypatch, driver, tmp_path):
    cuda = Cuda(monkeypatch, driver)
    loaded(tmp_path, shape=["n", 3])
    assert cuda.made[-1][CUDA]["gpu_mem_limit"] == str(bound((100 + 3 * 64) * MB, 10 * MB, 1))


def test_what_goes_meanwhile_does_not_hide_the_weights():
    assert bound(0, 100 * MB, 1) == bound(100 * MB, 100 * MB, 4) == 157 * MB


def test_without_nvml_it_stays_an_estimate_that_bounds_nothing(monkeypatch, driver, tmp_path):
    cuda = Cuda(monkeypatch, driver)
    monkeypatch.setattr(gpus, "held", lambda gpu: None)
    assert loaded(tmp_path)[0].seat == ESTIMATED
    assert [made[CUDA].get("gpu_mem_limit") for made in cuda.made] == [None, str(GPU.bytes)]


@pytest.mark.parametrize(
    ("works", "op", "reason"),
    [
        (False, "Neg", "onnxruntime could not begin `CUDAExecutionProvider`"),
        (True, "Abs", "none of its operators can run there"),
    ],
)
def test_what_falls_back_to_the_cpu_says_so_or_is_refused_where_a_gpu_was_asked_for(
    monkeypatch, driver, tmp_path, works, op, reason
):
    Cuda(monkeypatch, driver, works=works)
    model, _ = loaded(tmp_path, op)
    assert not model.seat.on_gpu
    assert model.seat.reason.startswith(reason)
    assert (model.settings.providers, model.settings.device) == ("cpu", None)
    assert held_mb(driver) == (CONTEXT_MB if works else 0)
    with pytest.raises(Refused, match=f"FS267.*was to compute with `cuda`, and {reason}") as refused:
        loaded(tmp_path, op, providers="cuda")
    assert "onnxruntime-gpu[cuda,cudnn]" in refused.value.diagnostics[0].hint


def test_an_onnxruntime_that_does_not_say_what_runs_where_is_believed(monkeypatch, driver, tmp_path):
    Cuda(monkeypatch, driver)
    monkeypatch.setattr("fake_cuda.FakeSession.get_provider_graph_assignment_info", property())
    monkeypatch.setattr("fake_cuda.FakeSession.__getattr__", lambda self, name: _of_the_real(self, name))
    assert loaded(tmp_path, "Abs")[0].seat.on_gpu


def _of_the_real(session, name):
    if name == "get_provider_graph_assignment_info":
        raise AttributeError(name)
    return getattr(session._real, name)


def test_tensorrt_goes_before_cuda_and_keeps_its_engines(monkeypatch, driver, tmp_path):
    cuda = Cuda(monkeypatch, driver)
    model, _ = loaded(tmp_path, providers="tensorrt", fp16=True)
    assert model.settings.providers == "tensorrt"
    _, made = cuda.made
    assert list(made) == [TENSORRT, CUDA, CPU]
    engines = made[TENSORRT].pop("trt_engine_cache_path")
    assert made[TENSORRT] == {
        "device_id": "0",
        "trt_max_workspace_size": str(2**30),
        "trt_fp16_enable": "True",
        "trt_engine_cache_enable": "True",
    }
    assert engines.startswith(str(tmp_path / "cache" / "flowserve" / "tensorrt"))
    assert "NVIDIA-A100" in engines
    assert model.seat == Seat("gpu:0", MEASURED, bounded=True)
    loaded(tmp_path, providers="tensorrt")
    assert cuda.made[-1][TENSORRT]["trt_engine_cache_path"] != engines, "of another precision"


def test_engines_are_not_kept_where_others_can_write(monkeypatch, driver, tmp_path):
    cuda = Cuda(monkeypatch, driver)
    (tmp_path / "cache" / "flowserve").mkdir(parents=True)
    (tmp_path / "cache" / "flowserve").chmod(0o777)
    loaded(tmp_path, providers="tensorrt")
    assert "trt_engine_cache_path" not in cuda.made[-1][TENSORRT]
