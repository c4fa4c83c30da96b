"""How files come into a repository: whole or not at all, whatever crashes; publishers take turns."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from flowc.plan.diagnostics import refuse
from flowserve.core.models.pipeline import PIPELINE_FILE

MODEL_FILE = "model.onnx"
WEIGHTS_FILE = "model.weights"
ORIGIN_FILE = "origin.json"
GOLDEN_FILE = "golden.json"
NOT_WEIGHTS = {MODEL_FILE, PIPELINE_FILE, ORIGIN_FILE, GOLDEN_FILE}
"""Of the files in a version's folder."""

# Triton ignores folders that begin with 0, and reads a version as 64 bits.
_VERSION = re.compile(r"[1-9][0-9]{0,17}")
_MODEL_FILES = {MODEL_FILE, WEIGHTS_FILE, PIPELINE_FILE}
_TEMPORARY = ".publishing-"
_LOCK_FILE = ".lock"


def versions_of(names: Iterable[str]) -> list[int]:
    """Return the numbers of the versions among what a model's folder has inside, lowest first."""
    return sorted(int(name) for name in names if _VERSION.fullmatch(name))


@contextmanager
def publishing(folder: Path) -> Iterator[None]:
    """Make a model's folder and hold its lock, which a crash releases; remove what a crashed publisher left.

    Raises `Refused` FS105 for a folder that lies elsewhere.
    """
    if folder.is_symlink():
        refuse("FS105", f"the model's folder `{folder}` must not be a link")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / _LOCK_FILE, "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for leftover in folder.glob(f"{_TEMPORARY}*"):
            if leftover.is_dir():
                shutil.rmtree(leftover)
            else:
                leftover.unlink()
        yield


def newest_if_same(folder: Path, files: Mapping[str, bytes]) -> int | None:
    """Return the highest version if these are its files; None otherwise."""
    version = max(versions_of(os.listdir(folder)), default=0)
    if not version:
        return None
    inside = folder / str(version)
    same = all(_has(inside / name, content) for name, content in files.items())
    return version if same and not _MODEL_FILES & set(os.listdir(inside)) - set(files) else None


def add_version(folder: Path, files: Mapping[str, bytes]) -> int:
    """Put files into a new version's folder, all at once, and return its number."""
    temporary = folder / f"{_TEMPORARY}{uuid.uuid4().hex}"
    temporary.mkdir()
    try:
        for name, content in files.items():
            _write(temporary / name, content)
        _sync_folder(temporary)
        # The lock has kept others out; where locks do not work (some network file systems), a rename still
        # never replaces a version that has files, and fails instead.
        version = max(versions_of(os.listdir(folder)), default=0) + 1
        os.rename(temporary, folder / str(version))
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(folder)
    return version


def replace(file: Path, text: str) -> None:
    """Put the text in place at once; leave alone a file that already has it."""
    content = text.encode()
    if file.is_file() and not file.is_symlink() and file.read_bytes() == content:
        return
    temporary = file.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
    _write(temporary, content)
    os.replace(temporary, file)
    _sync_folder(file.parent)


def _write(file: Path, content: bytes) -> None:
    with open(file, "xb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _has(file: Path, content: bytes) -> bool:
    return file.is_file() and file.stat().st_size == len(content) and file.read_bytes() == content
