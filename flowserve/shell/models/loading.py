"""Bringing a version into memory, and letting it prove itself before it takes traffic."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.machine import whole_processors
from flowserve.core.engine.joining import may_join
from flowserve.core.engine.profile import Profile, chosen_threads, settled
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.settings import ModelSettings
from flowserve.shell.engine.warmup import measure, repeats, time_run
from flowserve.shell.models.proving import folder_of, load_proven
from flowserve.shell.models.seating import Seating, in_passing, on_gpu, seated
from flowserve.shell.models.sessions import load

_PROCESSORS = whole_processors()
_THREADED_MS = 2.0  # what is shorter has nothing to share out


def load_measured(
    repository: Path, key: Key, settings: ModelSettings, budget_ms: float, seating: Seating | None = None
) -> tuple[Model, Profile]:
    """Load a version, let it prove itself and measure it, which also warms it up.

    The model's settings are those that are given, with what was measured in place of what was left open.
    `seating` is for one that may compute on a GPU.
    Raises `Refused` FS103 and FS267 as `load_proven`, and FS261 for what was set and the model cannot do.
    """
    if seating is None:
        return _measured(load_proven(repository, key, settings), repository, key, budget_ms)
    seated_there = partial(seated, repository, key, settings, seating)
    return in_passing(lambda: _measured(seated_there(), repository, key, budget_ms))


def _measured(model: Model, repository: Path, key: Key, budget_ms: float) -> tuple[Model, Profile]:
    settings = model.settings
    if model.seat.on_gpu:
        settings = on_gpu(settings)
        model = msgspec.structs.replace(model, settings=settings)
    if settings.threads == "auto":
        chosen = _chosen_threads(repository, key, model)
        settings = msgspec.structs.replace(settings, threads=chosen)
        model = msgspec.structs.replace(model, settings=settings)
        if chosen > 1:
            model = load_proven(repository, key, settings)
    profile = measure(model, budget_ms)
    if model.seat.on_gpu:  # its thread waits for the GPU, busily or not as CUDA likes
        profile = msgspec.structs.replace(profile, on_cpu=False)
    if settings.batching == "on" and (profile.dependent or not may_join(model.signature)):
        what = "rows together give something else than rows alone"
        if not profile.dependent:
            what = f"its rows do not stand along an open first axis everywhere: {model.signature}"
        hint = 'leave `batching` to be "auto"'
        refuse("FS261", f"{key} cannot run requests together: {what}", hint=hint)
    require_repeats(model, key)
    return msgspec.structs.replace(model, settings=settled(settings, profile)), profile


def _chosen_threads(repository: Path, key: Key, model: Model) -> int:
    """Measure 1, 2, 4 and so on, as long as they help."""
    run_ms = {1: time_run(model)}
    threads = 2
    while run_ms[1] >= _THREADED_MS and threads <= _PROCESSORS and chosen_threads(run_ms) == threads // 2:
        settings = msgspec.structs.replace(model.settings, threads=threads)
        run_ms[threads] = time_run(load(folder_of(repository, key), key.version, settings))
        threads *= 2
    return chosen_threads(run_ms)


def require_repeats(model: Model, key: Key) -> None:
    """Raise `Refused` FS261 when a model that has a cache gives something else the second time."""
    if model.settings.cache_mb and not repeats(model):
        hint = "take `cache_mb` away"
        refuse("FS261", f"{key} must not have a cache: it gives other outputs for the same inputs", hint=hint)
