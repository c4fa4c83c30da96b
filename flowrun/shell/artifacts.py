"""The content-addressed artifact store: values in, hashes out, and back.

A value is stored as a manifest (MessagePack) in which every array is replaced by the hash of a file of its
own (`.npy`, mapped when read). Equal content is stored once; files are written whole or not at all. Nothing
is pickled. The layout is specified in `docs/formats/artifact-store.md`.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from flowrun.core.model import Artifact

if TYPE_CHECKING:
    import numpy as np

_ARRAY = 1  # code of the MessagePack extension that stands for an array: 32 bytes of hash


class Unstorable(ValueError):
    """The value has no stored form."""


class Damaged(ValueError):
    """What lies in the store is missing, or is not what its hash says."""


class Store:
    """Artifacts below a folder. Any number of processes may read and write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, digest: str) -> Path:
        """Where content with this hash lies."""
        return self.folder / digest[:2] / digest[2:]

    def has(self, artifact: Artifact) -> bool:
        """Whether a value and all its parts are there. Contents are not read again."""
        try:
            manifest = self.path(artifact.hash).read_bytes()
            return all(self.path(digest).is_file() for digest in _parts(manifest))
        except (OSError, msgspec.DecodeError):
            return False

    def put(self, value: Any) -> Artifact:
        """Store a value; it is durable when this returns. `Unstorable` names what cannot be stored."""
        size = 0

        def leaf(part: Any) -> Any:
            nonlocal size
            if _is_tensor(part):
                part = part.detach().cpu().numpy()
            if _is_array(part):
                digest, stored = self._put_array(part)
                size += stored
                return msgspec.msgpack.Ext(_ARRAY, bytes.fromhex(digest))
            if _is_number(part):
                return part.item()
            if isinstance(part, PurePath):
                return str(part)
            name = f"{type(part).__module__}.{type(part).__qualname__}"
            raise Unstorable(f"a `{name}` cannot be stored")

        try:
            try:
                manifest = msgspec.msgpack.encode(value, enc_hook=leaf, order="deterministic")
            except TypeError:  # keys other than strings cannot be sorted: they keep their order
                manifest = msgspec.msgpack.encode(value, enc_hook=leaf)
        except (TypeError, OverflowError, RecursionError) as error:
            raise Unstorable(str(error)) from None
        return Artifact(self._put_bytes([manifest]), size + len(manifest))

    def get(self, digest: str, at: Iterable[str | int] = (), of: Any = Any) -> Any:
        """Load a value, or the part at a path of field names, as type `of`. Arrays are mapped, read-only.

        `Damaged` if something is missing or unreadable; `msgspec.ValidationError` if it is not of type `of`.
        """
        try:
            manifest = self.path(digest).read_bytes()
        except OSError as error:
            raise Damaged(f"artifact {digest[:12]} cannot be read: {error.strerror}") from None
        if blake3(manifest).hexdigest() != digest:
            raise Damaged(f"artifact {digest[:12]} is damaged: its content does not match its hash")
        part: Any = msgspec.msgpack.decode(manifest, strict=False)
        for step in at:
            try:
                part = part[step]
            except (KeyError, IndexError, TypeError):
                raise Damaged(f"artifact {digest[:12]} has no field `{step}`") from None
        return convert(self._with_arrays(part), of)

    def _with_arrays(self, part: Any) -> Any:
        if isinstance(part, msgspec.msgpack.Ext):
            return self._get_array(bytes(part.data).hex())
        if isinstance(part, dict):
            return {key: self._with_arrays(value) for key, value in part.items()}
        if isinstance(part, list):
            return [self._with_arrays(value) for value in part]
        return part

    def _put_array(self, array: np.ndarray[Any, Any]) -> tuple[str, int]:
        import numpy as np

        if array.dtype.hasobject:
            raise Unstorable(
                f"an array of dtype `{array.dtype}` holds Python objects, which cannot be stored"
            )
        array = np.asarray(array, order="C")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
        pieces = [header.getvalue(), array.reshape(-1).view(np.uint8).data if array.size else b""]
        return self._put_bytes(pieces), len(pieces[0]) + array.nbytes

    def _get_array(self, digest: str) -> np.ndarray[Any, Any]:
        import numpy as np

        try:
            # A file without data cannot be mapped.
            mapped: np.ndarray[Any, Any] = np.load(self.path(digest), mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError, ValueError):
                return np.load(self.path(digest), allow_pickle=False)  # type: ignore[no-any-return]
            raise Damaged(f"array {digest[:12]} cannot be read: {error}") from None
        return mapped.view(np.ndarray)

    def _put_bytes(self, pieces: list[Any]) -> str:
        hasher = blake3()
        for piece in pieces:
            hasher.update(piece)
        digest: str = hasher.hexdigest()
        target = self.path(digest)
        if target.exists():
            return digest
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor, partial = tempfile.mkstemp(dir=target.parent, prefix=".partial-")
        try:
            with os.fdopen(descriptor, "wb") as file:
                for piece in pieces:
                    file.write(piece)
                file.flush()
                os.fchmod(descriptor, 0o444)
                os.fsync(descriptor)
            os.rename(partial, target)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(partial)
            raise
        _sync_folder(target.parent)
        return digest


def convert(value: Any, of: Any) -> Any:
    """A decoded value as type `of`; `msgspec.ValidationError` if it is none."""
    return msgspec.convert(value, of, dec_hook=_check, from_attributes=False)


def _check(of: type, value: Any) -> Any:
    """Make a value of a type that msgspec does not know."""
    if isinstance(value, of):
        return value
    if issubclass(of, PurePath) and isinstance(value, str):
        return of(value)
    if of.__module__ == "torch" and _is_array(value):
        import torch

        # Stored arrays are read-only, tensors cannot be: an author who writes to one must not hit the store.
        return torch.from_numpy(value.copy())
    raise ValueError(f"Expected `{of.__name__}`, got `{type(value).__name__}`")


def _parts(manifest: bytes) -> list[str]:
    found: list[str] = []

    def note(code: int, data: memoryview) -> None:
        if code == _ARRAY:
            found.append(bytes(data).hex())

    msgspec.msgpack.decode(manifest, ext_hook=note)
    return found


def _is_array(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, numpy.ndarray)


def _is_number(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    return numpy is not None and isinstance(value, (numpy.number, numpy.bool_))


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
