"""Bringing a version into memory, and letting it prove itself before it takes traffic."""

from __future__ import annotations

from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowc.plan.machine import whole_processors
from flowserve.core.catalog.members import own_stamp
from flowserve.core.engine.joining import may_join
from flowserve.core.engine.profile import Profile, chosen_threads, settled
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.settings import ModelSettings
from flowserve.shell.engine.warmup import measure, repeats, time_run
from flowserve.shell.models.golden import prove
from flowserve.shell.models.repository import ModelFolder, look_at, stamps
from flowserve.shell.models.sessions import load
from flowserve.shell.models.writing import MODEL_FILE

_PROCESSORS = whole_processors()
_THREADED_MS = 2.0  # what is shorter has nothing to share out


def load_measured(
    repository: Path, key: Key, settings: ModelSettings, budget_ms: float
) -> tuple[Model, Profile]:
    """Load a version, let it prove itself and measure it, which also warms it up.

    The model's settings are those that are given, with what was measured in place of what was left open.
    Raises `Refused` FS103 as `load_proven`, and FS261 for what was set and the model cannot do.
    """
    model = load_proven(repository, key, settings)
    settings = model.settings
    if settings.threads == "auto":
        chosen = _chosen_threads(repository, key, model)
        settings = msgspec.structs.replace(settings, threads=chosen)
        model = msgspec.structs.replace(model, settings=settings)
        if chosen > 1:
            model = load_proven(repository, key, settings)
    profile = measure(model, budget_ms)
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


def load_proven(repository: Path, key: Key, settings: ModelSettings = ModelSettings()) -> Model:  # noqa: B008
    """Load a version, and run its golden vectors, if it has some.

    Raises `Refused` FS103 when the version does not load, has other files than `key.stamp` says, does not run
    on its golden inputs or gives something else.
    """
    folder = folder_of(repository, key)
    model = load(folder, key.version, settings)
    prove(model, key, folder.version_folder(key.version))
    require_same(folder, key)
    return model


def require_repeats(model: Model, key: Key) -> None:
    """Raise `Refused` FS261 when a model that has a cache gives something else the second time."""
    if model.settings.cache_mb and not repeats(model):
        hint = "take `cache_mb` away"
        refuse("FS261", f"{key} must not have a cache: it gives other outputs for the same inputs", hint=hint)


def require_same(folder: ModelFolder, key: Key) -> None:
    """Raise `Refused` FS103 when a version has other files now than its stamp says."""
    if key.stamp and stamps(folder).get(key.version) != own_stamp(key.stamp):
        place = Place(str(folder.version_folder(key.version)))
        refuse("FS103", f"{key} does not load: its files changed meanwhile", place)


def folder_of(repository: Path, key: Key) -> ModelFolder:
    """Return the folder of a version's model. Raises `Refused` FS102, and FS103 where there is none."""
    folder = look_at(repository, key.name)
    if folder is None or key.version not in folder.versions:
        file = repository / key.name / str(key.version) / MODEL_FILE
        refuse("FS103", f"{key} does not load: its files are gone", Place(str(file)))
    return folder
