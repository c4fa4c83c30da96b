"""Publishing pipelines of models that are in the same repository."""

from __future__ import annotations

from pathlib import Path

from flowc.plan.diagnostics import Place, refuse
from flowserve.core.models.pbtxt import pipeline_config_text
from flowserve.core.models.pipeline import PIPELINE_FILE, fit, read_pipeline
from flowserve.core.models.signature import Signature
from flowserve.core.wording import cut, listed
from flowserve.shell.models.aliases import read_aliases
from flowserve.shell.models.repository import (
    CONFIG_FILE,
    ModelFolder,
    Published,
    check_name,
    look_at,
    pipeline_of,
)
from flowserve.shell.models.writing import add_version, newest_if_same, publishing, replace


def publish_pipeline(repository: Path, name: str, text: str) -> Published:
    """Add a version of a pipeline, as `repository.publish` one of a model; `text` is its `pipeline.toml`.

    Raises `Refused` FS105, FS262 for what is wrong with the text, and FS263 when it does not fit the models
    that its names mean in the repository now.
    """
    check_name(name)
    document = read_pipeline(text, PIPELINE_FILE)
    members = [_member(repository, step.model, (name,)) for step in document.pipeline.step]
    signature = fit(document, [signature for _, signature in members])
    folder = repository / name
    try:
        with publishing(folder):
            files = {PIPELINE_FILE: text.encode()}
            version = newest_if_same(folder, files) or add_version(folder, files)
            versions = [version for version, _ in members]
            replace(folder / CONFIG_FILE, pipeline_config_text(name, signature, document.pipeline, versions))
    except OSError as error:
        refuse("FS105", f"pipeline `{name}` cannot be written: {error}")
    return Published(name, version, str(folder / str(version)))


def _member(repository: Path, need: str, within: tuple[str, ...]) -> tuple[int, Signature]:
    """The version that a name means by the repository, and its signature."""
    name, _, tag = need.partition("@")
    folder = look_at(repository, name)
    if folder is None:
        refuse("FS263", f"the repository has no model `{cut(name)}`", Place(str(repository)))
    if name in within:
        refuse("FS263", f"a pipeline must not run itself, but `{within[0]}` runs `{cut(name)}`")
    version = _meant(folder, tag)
    if version not in folder.needs:
        from flowserve.shell.models.graph import signature_on_disk

        return version, signature_on_disk(folder.model_file(version), folder.labels)
    document = pipeline_of(folder, version)
    of = [_member(repository, step.model, (*within, name))[1] for step in document.pipeline.step]
    return version, fit(document, of)


def _meant(folder: ModelFolder, tag: str) -> int:
    aliases = read_aliases(folder) or {}
    wanted = int(tag) if tag.isdecimal() else aliases.get(tag or "default", 0 if tag else folder.versions[-1])
    if wanted not in folder.versions:
        has = listed([*map(str, folder.versions), *sorted(aliases)])
        message = f"model `{folder.name}` has no version `{cut(tag)}`; it has {has}"
        refuse("FS263", message, Place(str(folder.path)))
    return wanted
