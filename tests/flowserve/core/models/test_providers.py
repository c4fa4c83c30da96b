"""What computes a model, by what is asked for and what is there."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.models.providers import CPU, CUDA, TENSORRT, WORKSPACE_BYTES_MAX, seats, with_options
from flowserve.core.models.seat import Gpu, Seat
from flowserve.core.models.settings import ModelSettings

ALL, SOME = (TENSORRT, CUDA, CPU), (CPU, "AzureExecutionProvider")
TWO = [Gpu(0), Gpu(1)]
PLAIN = ModelSettings()


def found(available, gpus, **said):
    return seats("m", ModelSettings(**said), available, gpus)


@pytest.mark.parametrize(
    ("available", "gpus", "said", "spaces"),
    [
        (ALL, TWO, {}, ("gpu:0", "gpu:1")),
        (ALL, TWO, {"device": 1}, ("gpu:1",)),
        (ALL, TWO, {"providers": "cpu"}, ()),
        (ALL, TWO, {"providers": "tensorrt"}, ("gpu:0", "gpu:1")),
        ((CUDA, CPU), TWO, {"providers": "cuda", "device": 0}, ("gpu:0",)),
        (ALL, [], {}, ()),
        (ALL, [], {"device": 1}, ()),
        (SOME, TWO, {}, ()),
        (SOME, [], {}, ()),
    ],
)
def test_where_a_model_may_compute(available, gpus, said, spaces):
    assert found(available, gpus, **said) == spaces


@pytest.mark.parametrize(
    ("available", "gpus", "said", "message", "hint"),
    [
        (
            SOME,
            TWO,
            {"providers": "cuda"},
            "this onnxruntime has not got `CUDA",
            "onnxruntime-gpu",
        ),
        (
            (CUDA, CPU),
            TWO,
            {"providers": "tensorrt"},
            "has not got `TensorrtExecutionProvider`: it has",
            "pip",
        ),
        (ALL, [], {"providers": "cuda"}, "asks for `cuda`, and no GPU is to be seen here", "nvidia-smi"),
        (ALL, TWO, {"device": 2}, "asks for GPU 2, and there is `0`, `1`", ""),
    ],
)
def test_what_is_asked_for_in_vain_is_refused(available, gpus, said, message, hint):
    with pytest.raises(Refused) as refused:
        found(available, gpus, **said)
    (diagnostic,) = refused.value.diagnostics
    assert diagnostic.code == "FS267"
    assert message in diagnostic.message
    assert hint in diagnostic.hint


def test_providers_stand_in_the_order_in_which_they_are_tried():
    seat = Seat("gpu:3")
    assert with_options("cpu", Seat(), 5, PLAIN, "") == [(CPU, {})]
    assert [name for name, _ in with_options("cuda", seat, 5, PLAIN, "")] == [CUDA, CPU]
    providers = with_options("tensorrt", seat, 5, PLAIN, "")
    assert [name for name, _ in providers] == [TENSORRT, CUDA, CPU]
    assert {of["device_id"] for _, of in providers[:2]} == {"3"}


def test_options_are_texts_as_onnxruntime_wants_them():
    tensorrt, cuda, _ = with_options(
        "tensorrt", Seat("gpu:0"), 5 * 2**30, ModelSettings(fp16=True), "/engines"
    )
    assert all(isinstance(value, str) for _, of in (tensorrt, cuda) for value in of.values())
    assert cuda[1]["gpu_mem_limit"] == str(5 * 2**30)
    assert tensorrt[1]["trt_max_workspace_size"] == str(WORKSPACE_BYTES_MAX)
    assert tensorrt[1]["trt_fp16_enable"] == "True"
    assert tensorrt[1]["trt_engine_cache_path"] == "/engines"
    tensorrt, cuda, _ = with_options("tensorrt", Seat("gpu:0"), 0, PLAIN, "")
    assert "gpu_mem_limit" not in cuda[1]
    assert cuda[1]["use_tf32"] == "0"
    assert with_options("cuda", Seat("gpu:0"), 0, ModelSettings(tf32=True), "")[0][1]["use_tf32"] == "1"
    assert "trt_engine_cache_enable" not in tensorrt[1]
    assert tensorrt[1]["trt_max_workspace_size"] == str(WORKSPACE_BYTES_MAX)
