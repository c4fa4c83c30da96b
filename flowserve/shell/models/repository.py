"""The model repository: a folder laid out as Triton's, specified in `docs/formats/model-repository.md`.

Nothing heavy is imported here, so that listing a repository stays cheap; `publish` loads onnx when it is
called.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Diagnostic, Place, Refused, refuse
from flowserve.core.models.pbtxt import (
    LABELS_FILE,
    ConfigError,
    config_field,
    config_text,
    label_files,
    parse_config,
)
from flowserve.core.models.pipeline import PIPELINE_FILE, Document, read_pipeline
from flowserve.core.wording import cut
from flowserve.shell.models.weights import parted
from flowserve.shell.models.writing import (
    MODEL_FILE,
    ORIGIN_FILE,
    add_version,
    newest_if_same,
    publishing,
    replace,
    versions_of,
)

CONFIG_FILE = "config.pbtxt"
ALIASES_FILE = "aliases.json"
ROLLOUTS_FILE = "rollouts.json"
"""What a server keeps in a model's folder; see `aliases`."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.-]*")
# What a server does not load: a change of it is none of a version.
_NOT_SERVED = {ORIGIN_FILE, CONFIG_FILE, ALIASES_FILE, ROLLOUTS_FILE}
_Stats = list[tuple[str, int, int, int]]
_TEXT_BYTES_MAX = 4 * 2**20


class Published(msgspec.Struct, frozen=True):
    """A version in a repository. `path` is its folder, below the repository's path as it was given."""

    name: str
    version: int
    path: str


class Origin(msgspec.Struct, frozen=True):
    """The attempt of a node, in a run, that published a version, and the artifacts that it was given."""

    run: str
    node: str
    attempt: int
    artifacts: dict[str, str]


class ModelFolder(msgspec.Struct, frozen=True):
    """A model on disk. `versions` go up; `labels` has the class names of the outputs that have them."""

    name: str
    path: Path
    versions: tuple[int, ...]
    labels: dict[str, tuple[str, ...]] = {}
    needs: dict[int, tuple[str, ...]] = {}
    """What the steps of its versions run that are pipelines, in their order."""

    def version_folder(self, version: int) -> Path:
        """Where the files of a version lie."""
        return self.path / str(version)

    def model_file(self, version: int) -> Path:
        """Where the ONNX file of a version lies."""
        return self.path / str(version) / MODEL_FILE


def publish(
    repository: Path,
    name: str,
    onnx: bytes,
    labels: Sequence[str] = (),
    probabilities_output: str | None = None,
    origin: Origin | None = None,
) -> Published:
    """Add a version of a model and return it; the repository is made if it is not there.

    The version is one more than the highest. If the highest already holds the same bytes, that one is
    returned and no version is written. Weights of 16 MiB and more are put into a file beside the model.
    `labels` name the classes along the last dimension of `probabilities_output` (of the only output of
    floats, unless given). A version appears whole or not at all, whatever crashes, and publishers at the same
    time take turns. A new version says that it is of `origin`. Raises `Refused` FS105.
    """
    from flowserve.shell.models.graph import read_signature

    check_name(name)
    signature = read_signature(onnx, labels, probabilities_output)
    folder = repository / name
    try:
        with publishing(folder):
            files = parted(onnx)
            made_by = {ORIGIN_FILE: msgspec.json.encode(origin) + b"\n"} if origin is not None else {}
            version = newest_if_same(folder, files) or add_version(folder, files | made_by)
            # After the version: the folder can be served at every moment, even the first.
            if labels:
                replace(folder / LABELS_FILE, "".join(f"{label}\n" for label in labels))
            replace(folder / CONFIG_FILE, config_text(name, signature))
    except OSError as error:
        refuse("FS105", f"model `{name}` cannot be written: {error}")
    return Published(name, version, str(folder / str(version)))


def check_name(name: str) -> None:
    """Raise `Refused` FS105 for what cannot be the name of a published model."""
    if not _NAME.fullmatch(name) or ".." in name or len(name) > 200:
        expected = "letters, digits, `_`, `-` and single dots, and not begin with a dot"
        refuse("FS105", f"a model's name must be of {expected}, got `{cut(name)}`")


def scan(repository: Path) -> list[ModelFolder]:
    """Return the models of a repository by name, without opening an ONNX file.

    Raises `Refused` FS101 when there is no repository or no model in it, and FS102 for every model whose
    folder is not laid out as it should be. Nothing outside of the repository is followed.
    """
    hint = "a workflow that ends with `stdlib.export:publish` adds a model, and makes the folder"
    try:
        names = sorted(name for name in os.listdir(repository) if not name.startswith("."))
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        refuse("FS101", f"the model repository `{repository}` cannot be read: {reason}", hint=hint)
    problems: list[Diagnostic] = []
    found: list[ModelFolder] = []
    for name in names:
        try:
            folder = look_at(repository, name)
            if folder is not None:
                _require_files(
                    folder, [version for version in folder.versions if version not in folder.needs]
                )
                found.append(folder)
        except Refused as refused:
            problems += refused.diagnostics
    if problems:
        raise Refused(*problems)
    if not found:
        refuse("FS101", f"the model repository `{repository}` has no models", hint=hint)
    return found


def look_at(repository: Path, name: str, sound: bool = False) -> ModelFolder | None:
    """Return one model of a repository, None when it is not there. Raises `Refused` FS102.

    A version without its file is no reason to refuse the others: it will not load. Of a model that was found
    `sound` before, the configuration is not checked again.
    """
    folder = repository / name
    try:
        if not os.path.isdir(folder):
            return None
        with os.scandir(folder) as entries:
            inside = list(entries)
        # A folder with hidden files only is a first version on its way.
        if all(entry.name.startswith(".") for entry in inside):
            return None
        return _model_folder(folder, inside, sound)
    except (OSError, RuntimeError) as error:  # pathlib raises RuntimeError for links in a circle
        refuse("FS102", f"the folder of model `{name}` cannot be read: {error}", Place(str(folder)))


def stamps(folder: ModelFolder) -> dict[int, str]:
    """Return for every version a text that differs when its files do, or those that all versions share.

    A version whose files are going away has none.
    """
    shared = _stats(folder.path)
    found = {version: _stamp(shared, folder.path / str(version)) for version in folder.versions}
    return {version: stamp for version, stamp in found.items() if stamp is not None}


def stamp(folder: Path, version: int) -> str | None:
    """As `stamps`, of one version of the model whose folder it is."""
    try:
        return _stamp(_stats(folder), folder / str(version))
    except OSError:
        return None


def pipeline_of(folder: ModelFolder, version: int) -> Document:
    """Return the pipeline that a version is. Raises `Refused` FS102 and FS262."""
    file = folder.version_folder(version) / PIPELINE_FILE
    return read_pipeline(text_of(file), str(file))


def text_of(file: Path) -> str:
    """Return what a file of a model says. Raises `Refused` FS102."""
    try:
        with open(file, "rb") as stream:
            content = stream.read(_TEXT_BYTES_MAX + 1)
        if len(content) > _TEXT_BYTES_MAX:
            refuse("FS102", f"`{file.name}` must be at most {_TEXT_BYTES_MAX} bytes", Place(str(file)))
        return content.decode()
    except (OSError, UnicodeDecodeError) as error:
        refuse("FS102", f"`{file.name}` cannot be read: {error}", Place(str(file)))


# Scanning


def _model_folder(folder: Path, inside: Sequence[os.DirEntry[str]], sound: bool) -> ModelFolder:
    for link in (str(folder), *_links(inside)) if os.path.islink(folder) else _links(inside):
        if not Path(link).resolve().is_relative_to(folder.parent.resolve()):
            refuse("FS102", f"model `{folder.name}` must not link out of the repository", Place(link))
    versions = [
        version
        for version in versions_of(entry.name for entry in inside)
        if os.path.isdir(folder / str(version))
    ]
    if not versions:
        expected = f"a version's folder, as `1/{MODEL_FILE}`"
        refuse("FS102", f"model `{folder.name}` must have {expected}", Place(str(folder)))
    pipelines = [version for version in versions if os.path.isfile(folder / str(version) / PIPELINE_FILE)]
    found = ModelFolder(folder.name, folder, tuple(versions), _labels(folder, sound))
    _require_files(found, pipelines, absent=True)
    needs = {
        version: tuple(step.model for step in pipeline_of(found, version).pipeline.step)
        for version in pipelines
    }
    return msgspec.structs.replace(found, needs=needs)


def _links(inside: Iterable[os.DirEntry[str]]) -> Iterator[str]:
    """The links among entries of a folder and in what they have inside."""
    for entry in inside:
        if entry.is_symlink():
            yield entry.path
        elif entry.is_dir():
            with os.scandir(entry.path) as entries:
                yield from _links(entries)


def _require_files(folder: ModelFolder, versions: Sequence[int], absent: bool = False) -> None:
    """Refuse FS102 where one of these versions has no model file, or has one that is to be `absent`."""
    if wrong := [version for version in versions if folder.model_file(version).is_file() == absent]:
        places = [Place(str(folder.model_file(version))) for version in wrong]
        what = f"`{MODEL_FILE}`, or `{PIPELINE_FILE}` in its place"
        refuse("FS102", f"every version of model `{folder.name}` must have {what}", *places)


def _labels(folder: Path, sound: bool) -> dict[str, tuple[str, ...]]:
    """The labels of every output that `config.pbtxt` gives a labels file; without a config there are none."""
    file = folder / CONFIG_FILE
    if not os.path.exists(file):
        return {}
    text = text_of(file)
    if sound and "label_filename" not in text:
        return {}
    try:
        config = parse_config(text)
    except ConfigError as error:
        refuse("FS102", f"`{CONFIG_FILE}` is not protobuf text: {error}", Place(str(file), error.line))
    if (name := config_field(config, "name")) not in ("", folder.name):
        message = (
            f"`{CONFIG_FILE}` must name the model `{folder.name}`, as its folder does, got `{cut(name)}`"
        )
        refuse("FS102", message, Place(str(file)))
    kind = config_field(config, "backend") or config_field(config, "platform")
    if kind not in ("", "onnxruntime", "onnxruntime_onnx", "ensemble"):
        refuse("FS102", f"the backend must be `onnxruntime`, got `{cut(kind)}`", Place(str(file)))
    return {output: _labels_of(folder, named, file) for output, named in label_files(config).items()}


def _labels_of(folder: Path, named: str, config: Path) -> tuple[str, ...]:
    file = folder / named
    if not file.resolve().is_relative_to(folder.resolve()) or not file.is_file():
        refuse("FS102", f"the labels file `{cut(named)}` must lie in the model's folder", Place(str(config)))
    return tuple(text_of(file).splitlines())


def _stamp(shared: _Stats, folder: Path) -> str | None:
    try:
        of = shared + _stats(folder)
    except OSError:
        return None
    return blake2b(repr(of).encode(), digest_size=8).hexdigest()


def _stats(folder: Path) -> _Stats:
    """Of every file that is not hidden: name, size, time of change and inode."""
    found = []
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") or not entry.is_file() or entry.name in _NOT_SERVED:
                continue
            stat = entry.stat()
            found.append((entry.name, stat.st_size, stat.st_mtime_ns, stat.st_ino))
    return sorted(found)
