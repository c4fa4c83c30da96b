"""Loading a version as it is on disk, and letting it prove itself."""

from __future__ import annotations

from pathlib import Path

from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, refuse
from flowserve.core.catalog.members import own_stamp
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.seat import Seat
from flowserve.core.models.settings import ModelSettings
from flowserve.shell.models.golden import prove
from flowserve.shell.models.repository import ModelFolder, look_at, stamp
from flowserve.shell.models.sessions import load
from flowserve.shell.models.writing import MODEL_FILE

_ON_HOST = Seat()


def load_proven(
    repository: Path,
    key: Key,
    settings: ModelSettings = ModelSettings(),  # noqa: B008
    seat: Seat = _ON_HOST,
    limit_bytes: int = 0,
    engines: str = "",
) -> Model:
    """Load a version, and run its golden vectors, if it has some.

    Raises `Refused` FS103 when the version does not load, has other files than `key.stamp` says, does not run
    on its golden inputs or gives something else, and FS267 as `sessions.load`.
    """
    folder = folder_of(repository, key)
    model = load(folder, key.version, settings, seat, limit_bytes, engines)
    prove(model, key, folder.version_folder(key.version))
    require_same(folder, key)
    return model


def require_same(folder: ModelFolder, key: Key) -> None:
    """Raise `Refused` FS103 when a version has other files now than its stamp says."""
    if key.stamp and stamp(folder.path, key.version) != own_stamp(key.stamp):
        place = Place(str(folder.version_folder(key.version)))
        refuse("FS103", f"{key} does not load: its files changed meanwhile", place)


def refusal_of_missing(repository: Path, key: Key) -> Refused | None:
    """Why a version will not load that has no model file, as half a copy of one has none."""
    file = repository / key.name / str(key.version) / MODEL_FILE
    if file.is_file():
        return None
    message = f"{key} does not load: it has no `{MODEL_FILE}`"
    return Refused(Diagnostic("FS103", message, (Label(Place(str(file))),)))


def folder_of(repository: Path, key: Key) -> ModelFolder:
    """Return the folder of a version's model. Raises `Refused` FS102, and FS103 where there is none."""
    folder = look_at(repository, key.name, sound=True)
    if folder is None or key.version not in folder.versions:
        file = repository / key.name / str(key.version) / MODEL_FILE
        refuse("FS103", f"{key} does not load: its files are gone", Place(str(file)))
    return folder
