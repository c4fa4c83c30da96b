"""What a server keeps in a model's folder for the one after it: aliases of versions, rollouts of aliases."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowserve.core.rollout.plan import Rollout, checked
from flowserve.core.wording import cut
from flowserve.shell.models.repository import ALIASES_FILE, ROLLOUTS_FILE, ModelFolder, text_of
from flowserve.shell.models.writing import replace


def read_aliases(folder: ModelFolder) -> dict[str, int] | None:
    """Return the aliases of a model's versions, None when it has no file of them. Raises `Refused` FS102."""
    file = folder.path / ALIASES_FILE
    if not file.is_file():
        return None
    try:
        return msgspec.json.decode(text_of(file), type=dict[str, int])
    except ValueError as error:
        message = f"`{ALIASES_FILE}` must be a JSON object of names and versions: {error}"
        refuse("FS102", message, Place(str(file)))


def write_aliases(folder: Path, aliases: Mapping[str, int]) -> None:
    """Put the aliases of a model in its folder, all at once. Raises OSError."""
    text = msgspec.json.encode(dict(sorted(aliases.items()))).decode()
    replace(folder / ALIASES_FILE, f"{text}\n")


def read_rollouts(folder: Path) -> dict[str, Rollout]:
    """Return the rollouts that an earlier server has left, by alias. Raises `Refused` FS102."""
    file = folder / ROLLOUTS_FILE
    if not file.is_file():
        return {}
    try:
        rollouts = msgspec.json.decode(text_of(file), type=dict[str, Rollout])
    except ValueError as error:
        refuse("FS102", f"`{ROLLOUTS_FILE}` must be rollouts by alias: {error}", Place(str(file)))
    for alias, rollout in rollouts.items():
        if not 0 <= rollout.step < len(checked(rollout.plan).steps):
            message = f"`{ROLLOUTS_FILE}` has `{cut(alias)}` at a step that it does not have"
            refuse("FS102", message, Place(str(file)))
    return rollouts


def write_rollouts(folder: Path, rollouts: Mapping[str, Rollout]) -> None:
    """Put the rollouts of a model in its folder, all at once; none takes the file away. Raises OSError."""
    file = folder / ROLLOUTS_FILE
    if rollouts:
        replace(file, msgspec.json.format(msgspec.json.encode(rollouts)).decode() + "\n")
    else:
        file.unlink(missing_ok=True)
