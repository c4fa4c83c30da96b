"""Bringing a version into memory, and letting it prove itself before it takes traffic."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from flowc.plan.diagnostics import Place, Refused, refuse
from flowserve.core.engine.joining import may_join
from flowserve.core.engine.profile import Profile, chosen_threads, settled
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.settings import ModelSettings
from flowserve.core.wire.datatypes import DATATYPES
from flowserve.core.wire.protocol import parse_request
from flowserve.core.wire.tensors import Array, from_json
from flowserve.shell.engine.warmup import measure, repeats, time_run
from flowserve.shell.models.repository import MODEL_FILE, ModelFolder, look_at, stamps
from flowserve.shell.models.sessions import load

GOLDEN_FILE = "golden.json"  # in a version's folder
_PROCESSORS = len(os.sched_getaffinity(0))
_THREADED_MS = 2.0  # what is shorter has nothing to share out


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    name: str
    datatype: str
    shape: list[int]
    data: msgspec.Raw


class _Case(msgspec.Struct, forbid_unknown_fields=True):
    inputs: msgspec.Raw
    outputs: list[_Output] = []


class _Golden(msgspec.Struct, forbid_unknown_fields=True):
    cases: list[_Case]
    tolerance: float = 1e-3


_golden_decoder = msgspec.json.Decoder(_Golden)


def load_measured(
    repository: Path, key: Key, settings: ModelSettings, budget_ms: float
) -> tuple[Model, Profile]:
    """Load a version, let it prove itself and measure it, which also warms it up.

    The model's settings are those that are given, with what was measured in place of what was left open.
    Raises `Refused` FS103 as `load_proven`, and FS261 for what was set and the model cannot do.
    """
    model = load_proven(repository, key, settings)
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
    if settings.cache_mb and not repeats(model):
        hint = "take `cache_mb` away"
        refuse("FS261", f"{key} must not have a cache: it gives other outputs for the same inputs", hint=hint)
    return msgspec.structs.replace(model, settings=settled(settings, profile)), profile


def _chosen_threads(repository: Path, key: Key, model: Model) -> int:
    """Measure 1, 2, 4 and so on, as long as they help."""
    run_ms = {1: time_run(model)}
    threads = 2
    while run_ms[1] >= _THREADED_MS and threads <= _PROCESSORS and chosen_threads(run_ms) == threads // 2:
        settings = msgspec.structs.replace(model.settings, threads=threads)
        run_ms[threads] = time_run(load(_folder(repository, key), key.version, settings))
        threads *= 2
    return chosen_threads(run_ms)


def load_proven(repository: Path, key: Key, settings: ModelSettings = ModelSettings()) -> Model:  # noqa: B008
    """Load a version, and run its golden vectors, if it has some.

    Raises `Refused` FS103 when the version does not load, has other files than `key.stamp` says, does not run
    on its golden inputs or gives something else.
    """
    folder = _folder(repository, key)
    model = load(folder, key.version, settings)
    golden = folder.path / str(key.version) / GOLDEN_FILE
    if golden.is_file():
        _check_golden(model, key, golden)
    if key.stamp and stamps(folder).get(key.version) != key.stamp:
        file = folder.model_file(key.version)
        refuse("FS103", f"{key} does not load: its files changed meanwhile", Place(str(file)))
    return model


def _folder(repository: Path, key: Key) -> ModelFolder:
    folder = look_at(repository, key.name)
    if folder is None or key.version not in folder.versions:
        file = repository / key.name / str(key.version) / MODEL_FILE
        refuse("FS103", f"{key} does not load: its files are gone", Place(str(file)))
    return folder


def _check_golden(model: Model, key: Key, file: Path) -> None:
    try:
        golden = _golden_decoder.decode(file.read_bytes())
    except (OSError, ValueError) as error:
        refuse("FS103", f"{key} has golden vectors that cannot be read: {error}", Place(str(file)))
    for index, case in enumerate(golden.cases):
        title = f"{key} fails its golden case {index}"
        try:
            body = b'{"inputs": %b}' % bytes(case.inputs)
            request = parse_request(body, None, model.signature)
            wanted = [_expected(output, model) for output in case.outputs]
            names = [output.name for output in case.outputs]
            given = model.run(request.feed, names or [spec.name for spec in model.signature.outputs])
        except Refused as refused:
            refuse("FS103", f"{title}: {refused.diagnostics[0].message}", Place(str(file)))
        for name, array, expected in zip(names, given, wanted, strict=False):
            if difference := _difference(array, expected, golden.tolerance):
                refuse("FS103", f"{title}: output `{name}` {difference}", Place(str(file)))


def _expected(output: _Output, model: Model) -> Array:
    specs = {spec.name: spec for spec in model.signature.outputs}
    datatype = DATATYPES.get(output.datatype)
    if datatype is None or output.name not in specs:
        refuse("FS207", f"the model has no output `{output.name}` of `{output.datatype}`")
    return from_json(output.data, datatype, output.shape, f"outputs.{output.name}.data")


def _difference(given: Any, expected: Array, tolerance: float) -> str:
    """What differs, "" for nothing. Floats may be off by the tolerance, relative or absolute."""
    if given.shape != expected.shape:
        return f"has the shape {list(given.shape)}, not {list(expected.shape)}"
    if given.dtype.kind != "f":
        return "" if given.tolist() == expected.tolist() else "is another"
    if np.allclose(given, expected, tolerance, tolerance, equal_nan=True):
        return ""
    off = float(np.nanmax(np.abs(given.astype(np.float64) - expected.astype(np.float64)), initial=0))
    return f"is off by {off:.3g}, more than {tolerance:g}"
