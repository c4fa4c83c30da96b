"""What an operator may say of one model: how its calls run, what memory it may have. Light, as `Key` is."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

Tier = Annotated[int, msgspec.Meta(ge=1, le=4)]
Batching = Literal["auto", "on", "off"]
Weights = Literal["auto", "mapped", "prepacked"]
Providers = Literal["auto", "cpu", "cuda", "tensorrt"]
PRIORITIES = 10
_Count = Annotated[int, msgspec.Meta(ge=1)]
_CountOrNone = Annotated[int, msgspec.Meta(ge=0)]
_Duration = Annotated[float, msgspec.Meta(ge=0)]


class ModelSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[model.NAME]` of the configuration; docs/serving.md explains each. 0 is none, or no bound.

    Of a model in memory, what was left open (`auto`, 0) is what was chosen by measuring it.
    """

    tier: Tier = 2
    batching: Batching = "auto"
    max_rows: _CountOrNone = 0
    """Of a batch."""
    preferred_rows: _CountOrNone = 0
    delay_ms: _Duration = 0.0
    """So long a call may wait for a batch of `preferred_rows` while nothing runs."""
    queue: _Count = 1024
    """Calls that may wait."""
    queue_s: Annotated[float, msgspec.Meta(gt=0)] = 10.0
    """A call that would wait longer, as estimated when it arrives, is refused."""
    concurrency: _CountOrNone = 0
    """Runs beside each other; 0 for as many as there are processors for their threads."""
    threads: _Count | Literal["auto"] = 1
    """Of one run."""
    timeout_ms: _Duration = 0.0
    """Of a request that names none."""
    timeout_ms_max: _Duration = 0.0
    """No request waits longer, whatever it says."""
    priority: Annotated[int, msgspec.Meta(ge=1, le=PRIORITIES)] = 5
    """Of a request that names none; 1 goes first."""
    cache_mb: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """For answers, in each process."""
    weights: Weights = "auto"
    providers: Providers = "auto"
    """What computes: on a GPU what can be done there, the rest on the CPU."""
    device: _CountOrNone | None = None
    """The GPU, by CUDA's number; None for the one with the most room."""
    gpu_memory_mb: _CountOrNone = 0
    """There, in each process; 0 for what is measured."""
    fp16: bool = False
    """TensorRT, where that computes, may do so with half precision."""
    tf32: bool = False
    """CUDA may round what products of float32 are made of to ten bits of a fraction."""

    @property
    def is_coarse(self) -> bool:
        """Whether what computes may round to about a thousandth."""
        return self.tf32 or self.fp16 or self.providers == "tensorrt"


class PerModel(msgspec.Struct, frozen=True):
    """The settings of every model: those with a table of their own, and those of `others`."""

    named: dict[str, ModelSettings] = {}
    others: ModelSettings = ModelSettings()

    def of(self, name: str) -> ModelSettings:
        """The settings of a model."""
        return self.named.get(name, self.others)


def contradiction(settings: ModelSettings) -> tuple[str, str] | None:
    """Return the setting that cannot be beside another, and why; None where all can be."""
    s = settings
    if s.max_rows and s.preferred_rows > s.max_rows:
        return "preferred_rows", f"it must be at most `max_rows`, which is {s.max_rows}"
    if s.timeout_ms_max and s.timeout_ms > s.timeout_ms_max:
        return "timeout_ms", f"it must be at most `timeout_ms_max`, which is {s.timeout_ms_max:g}"
    if s.fp16 and s.providers in ("cpu", "cuda"):
        return "fp16", f'only TensorRT can be told so, and `providers` is "{s.providers}"'
    if s.tf32 and s.providers in ("cpu", "tensorrt"):
        return "tf32", f'only CUDA can be told so, and `providers` is "{s.providers}"'
    if s.batching == "off":
        for name in ("max_rows", "preferred_rows", "delay_ms"):
            if getattr(s, name):
                return name, "there are no batches where `batching` is off"
    return None
