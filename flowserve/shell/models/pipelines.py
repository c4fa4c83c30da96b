"""Loading pipelines: their file, checked against the models that are in memory for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, refuse
from flowserve.core.arrays import Array
from flowserve.core.catalog.members import bound_stamp, own_stamp
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.engine.profile import Profile, settled
from flowserve.core.models.key import Key
from flowserve.core.models.model import Bound, Model
from flowserve.core.models.pipeline import fit, route
from flowserve.core.models.settings import ModelSettings
from flowserve.core.models.signature import Signature
from flowserve.shell.models.golden import prove
from flowserve.shell.models.loading import require_repeats
from flowserve.shell.models.proving import folder_of, require_same
from flowserve.shell.models.repository import look_at, pipeline_of


def bind(repository: Path, key: Key, table: Table) -> tuple[Version, ...] | Refused:
    """Return the versions that the steps of a pipeline run, by a table; FS263 where they are not served."""
    try:
        folder = look_at(repository, key.name)
        if folder is None or key.version not in folder.versions:
            refuse("FS103", f"{key} does not load: its files are gone")
        members = tuple(table.version(need) for need in folder.needs[key.version])
    except Refused as refused:
        said = "; ".join(diagnostic.message for diagnostic in refused.diagnostics)
        place = Place(str(repository / key.name / str(key.version)))
        return _refusal(f"{key} does not load: {said}", place)
    if key.stamp != bound_stamp(own_stamp(key.stamp), [member.key for member in members]):
        return _refusal(f"{key} does not load: the models that it served with are gone")
    return members


def load_pipeline(repository: Path, key: Key, settings: ModelSettings, members: Sequence[Model]) -> Model:
    """Load a pipeline of these models, and let it prove itself.

    Raises `Refused` FS103, FS261, FS262, and FS263 when it does not fit them.
    """
    folder = folder_of(repository, key)
    document = pipeline_of(folder, key.version)
    signature = fit(document, [member.signature for member in members])
    labelled = [
        msgspec.structs.replace(spec, labels=folder.labels.get(spec.name, spec.labels))
        for spec in signature.outputs
    ]
    if settings.batching == "on":
        hint = "say so of the models that it runs"
        refuse("FS261", f"{key} cannot run requests together: it is a pipeline", hint=hint)
    bound = Bound(document.pipeline, tuple(members))
    model = Model(
        key.name,
        key.version,
        Signature(signature.inputs, tuple(labelled)),
        _Runner(bound),
        settled(msgspec.structs.replace(settings, threads=1), Profile()),
        bound,
    )
    prove(model, key, folder.version_folder(key.version))
    require_same(folder, key)
    require_repeats(model, key)
    return model


class _Runner:
    """Runs a pipeline step by step on the calling thread: for golden vectors. Requests go by the engine."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    def __call__(self, feed: Mapping[str, Array], outputs: Sequence[str]) -> list[Array]:
        have = dict(feed)
        for stage in route(self._bound.pipeline, outputs):
            taken = {own: have[tensor] for own, tensor in stage.takes}
            given = self._bound.members[stage.step].run(taken, [own for own, _ in stage.gives])
            have |= zip([tensor for _, tensor in stage.gives], given, strict=True)
        return [have[output] for output in outputs]


def _refusal(message: str, place: Place | None = None) -> Refused:
    return Refused(Diagnostic("FS263", message, (Label(place),) if place else ()))
