"""Execution providers of onnxruntime: which a model may use, and with what options.

A setting is one word, since their order is always the same: what TensorRT does not take goes to CUDA, and
what that does not take to the CPU. Options are those of onnxruntime's pages on its execution providers for
CUDA and TensorRT; docs/gpu.md says why these.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Literal

from flowc.plan.diagnostics import refuse
from flowserve.core.models.seat import Gpu, Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.core.wording import listed

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
OF_GPU = {"cuda": (CUDA,), "tensorrt": (TENSORRT, CUDA)}
"""By setting, what computes on a GPU, the first first. The first one is what was asked for."""

WORKSPACE_BYTES_MAX = 2**30
INSTALL = "`pip uninstall onnxruntime`, then `pip install 'onnxruntime-gpu[cuda,cudnn]'`: that has CUDA"

Word = Literal["cpu", "cuda", "tensorrt"]


def chosen(providers: str, available: Collection[str], gpus: Sequence[Gpu]) -> Word:
    """What a setting comes to on this host: `auto` is CUDA where onnxruntime has it and a GPU is there."""
    match providers:
        case "cpu" | "cuda" | "tensorrt":
            return providers
        case _:
            return "cuda" if CUDA in available and gpus else "cpu"


def seats(
    model: str, settings: ModelSettings, available: Collection[str], gpus: Sequence[Gpu]
) -> tuple[str, ...]:
    """The spaces of GPUs that a model may compute on; none where it is the CPU that does.

    `available` are the providers that this onnxruntime was built with. Raises `Refused` FS267 when what is
    asked for cannot be.
    """
    word = chosen(settings.providers, available, gpus)
    if word == "cpu":
        return ()
    wanted = OF_GPU[word][0]
    if wanted not in available:
        message = f"model `{model}` asks for `{word}`, and this onnxruntime has not got `{wanted}`"
        refuse("FS267", f"{message}: it has {listed(sorted(available))}", hint=INSTALL)
    if not gpus:
        hint = "`nvidia-smi` must list one, outside MIG mode, that CUDA_VISIBLE_DEVICES does not hide"
        refuse("FS267", f"model `{model}` asks for `{word}`, and no GPU is to be seen here", hint=hint)
    if settings.device is None:
        return tuple(gpu.space for gpu in gpus)
    named = [gpu.space for gpu in gpus if gpu.number == settings.device]
    if not named:
        there = listed([str(gpu.number) for gpu in gpus])
        refuse("FS267", f"model `{model}` asks for GPU {settings.device}, and there is {there}")
    return tuple(named)


def with_options(
    word: Word, seat: Seat, limit_bytes: int, settings: ModelSettings, engines: str
) -> list[tuple[str, dict[str, str]]]:
    """The providers of a session, in order, with their options.

    `limit_bytes` bounds the arena, 0 not at all. `engines` is the folder of TensorRT's, empty for none. What
    is on or off must be `True` or `False` there: with 1 or 0 onnxruntime would go on without the provider.
    """
    if not seat.on_gpu:
        return [(CPU, {})]
    device = {"device_id": str(seat.number)}
    cuda = device | {
        # Twice what is needed, as the other strategy takes it, would be another model's memory.
        "arena_extend_strategy": "kSameAsRequested",
        # The default looks for the best algorithm anew for each number of rows, which takes seconds.
        "cudnn_conv_algo_search": "HEURISTIC",
        # Otherwise copies race with what computes (onnxruntime issue 4829).
        "do_copy_in_default_stream": "True",
        # By default products of float32 have ten bits of a fraction: what a model gives then is not what it
        # gives on the CPU, nor a row together with others what it is alone.
        "use_tf32": "1" if settings.tf32 else "0",
    }
    if limit_bytes:
        cuda["gpu_mem_limit"] = str(limit_bytes)
    tensorrt = device | {
        "trt_max_workspace_size": str(min(limit_bytes or WORKSPACE_BYTES_MAX, WORKSPACE_BYTES_MAX)),
        "trt_fp16_enable": str(settings.fp16),
    }
    if engines:
        tensorrt |= {"trt_engine_cache_enable": "True", "trt_engine_cache_path": engines}
    options = {CUDA: cuda, TENSORRT: tensorrt}
    return [*((name, options[name]) for name in OF_GPU[word]), (CPU, {})]
