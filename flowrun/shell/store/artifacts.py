"""The content-addressed artifact store: values in, hashes out, and back.

A value is stored as a manifest (MessagePack) in which every array is replaced by the hash of a file of its
own (`.npy`, mapped when read). Equal content is stored once; files are written whole or not at all. A small
manifest needs no file: who holds the artifact holds its `data`. The layout is specified in
`docs/formats/artifact-store.md`.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import msgspec
from blake3 import blake3

from flowc.plan.registry import definition_of_class
from flowrun.core.model import Artifact
from flowrun.shell.store import forms
from flowrun.shell.store.content import Content
from flowrun.shell.store.content import Damaged as Damaged
from flowrun.shell.store.conversion import convert as convert
from flowrun.shell.store.conversion import is_array
from flowrun.shell.store.files import LARGE_BYTES
from flowrun.shell.store.inplace import InPlace, npy_header

if TYPE_CHECKING:
    import numpy as np

_TO_COME = 127  # code of the extension that stands for a tensor while a manifest is made
_LONG_BYTES = 64 * 1024  # bytes that are longer have a file of their own


INLINE_BYTES = 1024  # of a manifest, up to which it goes along with its hash, into the run log

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
        if artifact.data and blake3(artifact.data).hexdigest() != artifact.hash:
            return False
        return self._all(artifact, self.content.hold)

    def has(self, artifact: Artifact) -> bool:
        """Whether a value and all its parts are there, intact or not."""
        return self._all(artifact, lambda digest: self.path(digest).exists())

    def _all(self, artifact: Artifact, test: Callable[[str], bool]) -> bool:
        try:
            return all(map(test, self.digests(artifact)))
        except (Damaged, msgspec.DecodeError):
            return False

    def digests(self, artifact: Artifact) -> Iterator[str]:
        """The hashes of all files of a value: of its manifest, if that is one, and of that one's parts."""
        if not artifact.data:
            yield artifact.hash
        yield from _parts(artifact.data or self.content.read(artifact.hash))

    def put(self, value: Any, pickles: bool = False) -> Artifact:
        """Store a value; it is durable when this returns, but for what is small: the artifact's `data`.

        `Unstorable` names what cannot be stored. With `pickles`, that is no more than what cannot be pickled.
        """
        size = 0
        tensors: list[Any] = []

        def kept(code: int, digest: str, stored: int, note: str = "") -> Any:
            nonlocal size
            size += stored
            return msgspec.msgpack.Ext(code, bytes.fromhex(digest) + note.encode())

        def leaf(part: Any) -> Any:
            if forms.is_tensor(part) and forms.is_plain(part) and self._in_place.has(part.data_ptr()):
                part = part.detach().numpy()
            if forms.is_tensor(part):
                tensors.append(part)
                return msgspec.msgpack.Ext(_TO_COME, len(tensors).to_bytes(8))
            if is_array(part):
                return kept(forms.ARRAY, *self._put_array(part))
            if _is_scalar(part) and isinstance(plain := part.item(), (bool, int, float, str, bytes)):
                return plain
            if isinstance(part, PurePath):
                return str(part)
            if hasattr(part, "__flow_parts__"):
                return part.__flow_parts__()
            definition = definition_of_class(type(part))
            if definition is not None:
                return definition.parts(part)
            match forms.form_of(part):
                case "arrow":
                    return kept(forms.TABLE, *forms.put_table(self.content, part))
                case "onnx":
                    data = part.SerializeToString(deterministic=True)
                    return kept(forms.BYTES, self.content.add([memoryview(data)]), len(data), "onnx")
            if pickles:
                return kept(forms.PICKLE, *forms.put_pickle(self.content, part))
            name = f"{type(part).__module__}.{type(part).__qualname__}"
            raise Unstorable(f"a `{name}` cannot be stored")

        try:
            try:
                manifest = msgspec.msgpack.encode(value, enc_hook=leaf, order="deterministic")
            except TypeError:  # keys other than strings cannot be sorted: they keep their order
                size = 0
                tensors.clear()
                manifest = msgspec.msgpack.encode(value, enc_hook=leaf)
            if tensors or len(manifest) > _LONG_BYTES:
                outline = msgspec.msgpack.decode(manifest, strict=False)
                manifest = msgspec.msgpack.encode(self._with_files(outline, tensors, kept))
        except forms.Formless as error:
            raise Unstorable(str(error)) from None
        except Unstorable:
            raise
        except (TypeError, ValueError, OverflowError, RuntimeError) as error:  # of msgspec, numpy and torch
            raise Unstorable(str(error)) from None
        self._in_place.drop()
        if len(manifest) <= INLINE_BYTES:
            return Artifact(blake3(manifest).hexdigest(), size + len(manifest), manifest)
        return Artifact(self.content.add([memoryview(manifest)]), size + len(manifest))

    def _with_files(self, part: Any, tensors: list[Any], kept: Callable[..., Any]) -> Any:
        """An outline in which tensors, dicts of tensors, and long bytes are files of their own."""
        if isinstance(part, dict):
            values = list(part.values())
            if values and all(map(_is_to_come, values)) and all(isinstance(key, str) for key in part):
                named = {key: _chosen(tensors, value) for key, value in part.items()}
                return kept(forms.TENSORS, *forms.put_tensors(self.content, named))
            return {key: self._with_files(value, tensors, kept) for key, value in part.items()}
        if isinstance(part, list):
            return [self._with_files(value, tensors, kept) for value in part]
        if isinstance(part, bytes) and len(part) > _LONG_BYTES:
            return kept(forms.BYTES, self.content.add([memoryview(part)]), len(part))
        if _is_to_come(part):
            alone = {forms.LONE: _chosen(tensors, part)}
            return kept(forms.TENSORS, *forms.put_tensors(self.content, alone), forms.LONE)
        return part

    def get(self, source: Source, at: Iterable[str | int] = (), of: Any = Any) -> Any:
        """Load a value, or the part at a path of field names, as type `of`. Arrays are mapped, read-only.

        `Damaged` if something is not there or unreadable, `Missing` if the value has no such part;
        `msgspec.ValidationError` if it is not of type `of`.
        """
        outline = self.outline(source, at)
        try:
            return convert(self._with_arrays(outline), of)
        except Damaged as error:
            error.artifact = source if isinstance(source, str) else blake3(source).hexdigest()
            raise

    def preview(self, source: Source, at: Iterable[str | int] = ()) -> Any:
        """A value as far as it can be shown without the libraries that it is of: of what is, a sentence."""

        def shown(part: Any) -> Any:
            if isinstance(part, msgspec.msgpack.Ext) and part.code != forms.ARRAY:
                digest, note = _split(part)
                return forms.preview(self.content.checked(digest), part.code, note)
            if isinstance(part, dict):
                return {key: shown(value) for key, value in part.items()}
            return [shown(value) for value in part] if isinstance(part, list) else self._with_arrays(part)

        return shown(self.outline(source, at))

    def outline(self, source: Source, at: Iterable[str | int] = ()) -> Any:
        """A value, or the part at a path, with its arrays unread: each is a `msgspec.msgpack.Ext`."""
        manifest = source if isinstance(source, bytes) else self.content.read(source)
        part: Any = msgspec.msgpack.decode(manifest, strict=False)
        for step in at:
            if isinstance(part, msgspec.msgpack.Ext) and part.code in (forms.TENSORS, forms.PICKLE):
                part = self._with_arrays(part)
            try:
                part = part[step]
            except (KeyError, IndexError, TypeError):
                raise Missing(f"artifact {_short(source)} has no field `{step}`") from None
        return part

    def _with_arrays(self, part: Any) -> Any:
        if isinstance(part, msgspec.msgpack.Ext):
            return self._read_file(part.code, *_split(part))
        if isinstance(part, dict):
            return {key: self._with_arrays(value) for key, value in part.items()}
        if isinstance(part, list):
            return [self._with_arrays(value) for value in part]
        return part

    def _read_file(self, code: int, digest: str, note: str) -> Any:
        """What a file of its own stands for."""
        match code:
            case forms.BYTES:
                data = self.content.read(digest)
                return _onnx_model(data) if note == "onnx" else data
            case forms.TENSORS:
                tensors = forms.get_tensors(self.content.checked(digest))
                return tensors[forms.LONE] if note == forms.LONE else tensors
            case forms.TABLE:
                return forms.get_table(self.content.checked(digest), digest, note)
            case forms.PICKLE:
                return forms.get_pickle(self.content, digest)
            case _:
                return self._get_array(digest)

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


def _short(source: Source) -> str:
    return (source if isinstance(source, str) else blake3(source).hexdigest())[:12]


def _parts(manifest: bytes) -> list[str]:
    found: list[str] = []

    def note(code: int, data: memoryview) -> None:
        if code in forms.FORMS.values():
            found.append(bytes(data)[:32].hex())

    msgspec.msgpack.decode(manifest, ext_hook=note)
    return found


def _is_scalar(value: Any) -> bool:
    numpy = sys.modules.get("numpy")
    kinds = (numpy.number, numpy.bool_, numpy.str_, numpy.bytes_) if numpy is not None else ()
    return isinstance(value, kinds)


def _split(part: msgspec.msgpack.Ext) -> tuple[str, str]:
    """The hash of the file that stands for a part, and what is to be made of it."""
    data = bytes(part.data)
    return data[:32].hex(), data[32:].decode()


def _is_to_come(part: Any) -> bool:
    return isinstance(part, msgspec.msgpack.Ext) and part.code == _TO_COME


def _chosen(tensors: list[Any], part: Any) -> Any:
    return tensors[int.from_bytes(bytes(part.data)) - 1]


def _onnx_model(data: bytes) -> Any:
    import onnx

    return onnx.load_model_from_string(data)
