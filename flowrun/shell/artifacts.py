"""The content-addressed artifact store: values in, hashes out, and back.

A value is stored as a manifest (MessagePack) in which every array is replaced by the hash of a file of its
own (`.npy`, mapped when read). Equal content is stored once; files are written whole or not at all. A small
manifest without arrays needs no file: who holds the artifact holds its `data`. Nothing is pickled. The layout
is specified in `docs/formats/artifact-store.md`.
"""

from __future__ import annotations

import contextlib
import sys
import types
import typing
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from flowc.plan.registry import definition_of_class
from flowrun.core.model import Artifact
from flowrun.shell.content import LARGE_BYTES, Content
from flowrun.shell.content import Damaged as Damaged
from flowrun.shell.inplace import InPlace, npy_header

if TYPE_CHECKING:
    import numpy as np

_ARRAY = 1  # code of the MessagePack extension that stands for an array: 32 bytes of hash


INLINE_BYTES = 1024  # of a manifest without parts, up to which it goes along with its hash, into the run log

Source = str | bytes  # what a value is read from: the hash of its manifest, or a small manifest itself


class Unstorable(ValueError):
    """The value has no stored form."""


class Missing(ValueError):
    """The value has no such part."""


class Store:
    """Artifacts below a folder. Any number of processes may read and write at once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.content = Content(folder)
        self._in_place = InPlace(folder)

    def path(self, digest: str) -> Path:
        """Where content with this hash lies."""
        return self.content.path(digest)

    def empty(self, shape: int | tuple[int, ...], dtype: Any = float) -> np.ndarray[Any, Any]:
        """An array of zeros that lies in the store: when it is filled, putting it copies nothing."""
        return self._in_place.empty(shape, dtype)

    def is_sound(self, artifact: Artifact) -> bool:
        """Whether a value and all its parts are there and are what their hashes say.

        To be asked before something new refers to it: it is not removed from then on.
        """
        if artifact.data:
            return bool(blake3(artifact.data).hexdigest() == artifact.hash)
        try:
            return all(self.content.hold(digest) for digest in self.digests(artifact))
        except (Damaged, msgspec.DecodeError):
            return False

    def digests(self, artifact: Artifact) -> Iterator[str]:
        """The hashes of all files of a value: of its manifest, and of that one's parts."""
        if not artifact.data:
            yield artifact.hash
            yield from _parts(self.content.read(artifact.hash))

    def put(self, value: Any) -> Artifact:
        """Store a value; it is durable when this returns, but for what is small: the artifact's `data`.

        `Unstorable` names what cannot be stored.
        """
        size = 0

        def leaf(part: Any) -> Any:
            nonlocal size
            if _is_tensor(part):
                part = part.detach().cpu().numpy()
            if _is_array(part):
                digest, stored = self._put_array(part)
                size += stored
                return msgspec.msgpack.Ext(_ARRAY, bytes.fromhex(digest))
            if _is_scalar(part) and isinstance(plain := part.item(), (bool, int, float, str, bytes)):
                return plain
            if isinstance(part, PurePath):
                return str(part)
            if hasattr(part, "__flow_parts__"):
                return part.__flow_parts__()
            definition = definition_of_class(type(part))
            if definition is not None:
                return definition.parts(part)
            name = f"{type(part).__module__}.{type(part).__qualname__}"
            raise Unstorable(f"a `{name}` cannot be stored")

        try:
            try:
                manifest = msgspec.msgpack.encode(value, enc_hook=leaf, order="deterministic")
            except TypeError:  # keys other than strings cannot be sorted: they keep their order
                size = 0
                manifest = msgspec.msgpack.encode(value, enc_hook=leaf)
        except Unstorable:
            raise
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # of msgspec, numpy and torch
            raise Unstorable(str(error)) from None
        self._in_place.drop()
        if size == 0 and len(manifest) <= INLINE_BYTES:
            return Artifact(blake3(manifest).hexdigest(), len(manifest), manifest)
        return Artifact(self.content.add([memoryview(manifest)]), size + len(manifest))

    def get(self, source: Source, at: Iterable[str | int] = (), of: Any = Any) -> Any:
        """Load a value, or the part at a path of field names, as type `of`. Arrays are mapped, read-only.

        `Damaged` if something is not there or unreadable, `Missing` if the value has no such part;
        `msgspec.ValidationError` if it is not of type `of`.
        """
        outline = self.outline(source, at)
        try:
            return convert(self._with_arrays(outline), of)
        except Damaged as error:
            error.artifact = str(source)
            raise

    def outline(self, source: Source, at: Iterable[str | int] = ()) -> Any:
        """A value, or the part at a path, with its arrays unread: each is a `msgspec.msgpack.Ext`."""
        manifest = source if isinstance(source, bytes) else self.content.read(source)
        part: Any = msgspec.msgpack.decode(manifest, strict=False)
        for step in at:
            try:
                part = part[step]
            except (KeyError, IndexError, TypeError):
                raise Missing(f"artifact {_short(source)} has no field `{step}`") from None
        return part

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
        if hasattr(array, "mask"):
            raise Unstorable("a masked array cannot be stored: return its data and its mask")
        partial = self._in_place.take(array)
        if partial is None and not array.flags.c_contiguous and array.nbytes >= LARGE_BYTES:
            made = self.empty(array.shape, array.dtype)  # copied once, and into its file
            np.copyto(made, array)
            partial = self._in_place.take(made)
        header = npy_header(array.dtype, array.shape)
        size = len(header) + array.nbytes
        if partial is not None:
            return self.content.adopt(partial), size
        plain = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else memoryview(b"")
        return self.content.add([memoryview(header), plain]), size

    def _get_array(self, digest: str) -> np.ndarray[Any, Any]:
        import numpy as np

        path = self.content.checked(digest)
        try:
            mapped: np.ndarray[Any, Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError) as error:
            with contextlib.suppress(OSError, ValueError):
                return np.load(path, allow_pickle=False)  # type: ignore[no-any-return] # empty: cannot be mapped
            raise Damaged(digest, f"cannot be read: {error}") from None
        return mapped.view(np.ndarray)


def convert(value: Any, of: Any) -> Any:
    """A decoded value as type `of`; `msgspec.ValidationError` if it is none."""
    try:
        return msgspec.convert(value, of, dec_hook=_check, from_attributes=False)
    except TypeError:
        # A union whose members msgspec cannot tell apart, as in `str | date`: the first that fits is meant.
        if typing.get_origin(of) not in (typing.Union, types.UnionType):
            raise
    failure = msgspec.ValidationError(f"Expected `{of}`")
    for member in typing.get_args(of):
        try:
            return convert(value, member)
        except msgspec.ValidationError as error:
            failure = error
    raise failure


def _check(of: type, value: Any) -> Any:
    """Make a value of a type that msgspec does not know."""
    if isinstance(value, of):
        return value
    if issubclass(of, PurePath) and isinstance(value, str):
        return of(value)
    if hasattr(of, "__flow_make__"):
        return of.__flow_make__(value)
    if of.__module__ == "torch" and _is_array(value):
        import torch

        # Stored arrays are read-only, tensors cannot be: an author who writes to one must not hit the store.
        return torch.from_numpy(value.copy())
    definition = definition_of_class(of)
    if definition is not None:
        return definition.make(value)
    raise ValueError(f"Expected `{of.__name__}`, got `{type(value).__name__}`")


def _short(source: Source) -> str:
    return (source if isinstance(source, str) else blake3(source).hexdigest())[:12]


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


def _is_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    kinds = (numpy.number, numpy.bool_, numpy.str_, numpy.bytes_) if numpy is not None else ()
    return isinstance(value, kinds)


def _is_tensor(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
