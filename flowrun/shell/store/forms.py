"""Stored forms of values that libraries make: each a file in a format of its own, which others can read.

| in the manifest | file | of |
| --- | --- | --- |
| extension 1 | `.npy` | numpy arrays (`flowrun/shell/store/artifacts.py`) |
| extension 2 | as it is | long bytes, models as ONNX |
| extension 3 | safetensors | torch tensors, dicts of them |
| extension 4 | Arrow IPC | tables of pandas, polars, pyarrow |
| extension 5 | pickle | what has no other form, where the plan says so |

The data of an extension is the hash of the file, and a word on what is to be made of it. Libraries are
imported only where such a value is there already, or is asked for.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.registry import form_of_class
from flowrun.shell.store.content import Content, Damaged
from flowrun.shell.store.files import Partial

ARRAY, BYTES, TENSORS, TABLE, PICKLE = 1, 2, 3, 4, 5
FORMS = {"npy": ARRAY, "bytes": BYTES, "safetensors": TENSORS, "arrow": TABLE, "pickle": PICKLE}
LONE = "tensor"  # name, in its file, of a tensor that is not in a dict; and what the manifest says of it

_DTYPES = {
    **{f"float{bits}": f"F{bits}" for bits in (16, 32, 64)},
    **{f"int{bits}": f"I{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": f"U{bits}" for bits in (8, 16, 32, 64)},
    "bool": "BOOL",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "complex64": "C64",
}


class Formless(ValueError):
    """The value has no stored form."""


def put_tensors(content: Content, tensors: Mapping[str, Any]) -> tuple[str, int]:
    """Keep tensors as a safetensors file; its hash and size. They are written as they lie in memory."""
    import torch

    laid: list[tuple[str, Any]] = []
    for name, tensor in tensors.items():
        kind = str(tensor.dtype).removeprefix("torch.")
        if kind not in _DTYPES or tensor.is_meta or tensor.is_quantized or not is_plain(tensor):
            raise Formless(f"a {kind} tensor of layout {tensor.layout} cannot be stored")
        laid.append((name, tensor.detach().cpu().contiguous()))
    # As the library lays them out: what is to be aligned most comes first.
    laid.sort(key=lambda pair: (-pair[1].element_size(), pair[0]))
    header: dict[str, Any] = {}
    at = 0
    for name, tensor in laid:
        kind, end = str(tensor.dtype).removeprefix("torch."), at + tensor.nbytes
        header[name] = {"dtype": _DTYPES[kind], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    text = msgspec.json.encode(header)
    text += b" " * (-len(text) % 8)
    pieces = [memoryview(len(text).to_bytes(8, "little") + text)]
    pieces += [memoryview(t.reshape(-1).view(torch.uint8).numpy()) for _, t in laid if t.nbytes]
    return content.add(pieces), sum(map(len, pieces))


def get_tensors(path: Path) -> dict[str, Any]:
    """The tensors of a file. They are mapped, each process its own: writing to one changes no file."""
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - it is no dict


def put_table(content: Content, table: Any) -> tuple[str, int, str]:
    """Keep a table as an Arrow file; its hash, its size, and of which library it is."""
    library = type(table).__module__.partition(".")[0]
    try:
        import pyarrow as pa
    except ImportError:
        raise Formless(f"a table of {library} needs pyarrow: install `flow-toolchain[tables]`") from None
    try:
        if library == "pandas":
            series = not hasattr(table, "columns")
            arrow = pa.Table.from_pandas(table.to_frame() if series else table)
            library = "pandas.Series" if series else library
        else:
            arrow = table.to_arrow() if library == "polars" else table
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, ValueError) as error:
        raise Formless(f"the table cannot be stored: {error}") from None
    partial = Partial(content.folder)
    try:
        with pa.OSFile(str(partial.path), "wb") as sink, pa.ipc.new_file(sink, arrow.schema) as writer:
            writer.write_table(arrow)
        size = partial.path.stat().st_size
        return content.adopt(partial), size, library
    finally:
        partial.drop()


def get_table(path: Path, digest: str, library: str) -> Any:
    """A table of a library, mapped as far as that library can."""
    try:
        import pyarrow as pa

        with pa.memory_map(str(path)) as file:
            arrow = pa.ipc.open_file(file).read_all()
    except ImportError:
        raise Damaged(digest, "cannot be read: it is a table, which needs pyarrow") from None
    except pa.ArrowInvalid as error:
        raise Damaged(digest, f"cannot be read: {error}") from None
    return as_table(arrow, library)


def as_table(table: Any, library: str) -> Any:
    """A table of any library as one of another."""
    if type(table).__module__.partition(".")[0] == library.partition(".")[0] != "pandas":
        return table
    if hasattr(table, "to_arrow"):  # polars
        table = table.to_arrow()
    elif not hasattr(table, "to_pandas"):  # pandas itself
        import pyarrow as pa

        if library.partition(".")[0] == "pandas":
            return table
        table = pa.Table.from_pandas(table)
    match library:
        case "pandas":
            return table.to_pandas()
        case "pandas.Series":
            return table.to_pandas().iloc[:, 0]
        case "polars":
            import polars

            return polars.from_arrow(table)
        case _:
            return table


def put_pickle(content: Content, value: Any) -> tuple[str, int]:
    """Keep what has no other form."""
    import pickle

    try:
        data = pickle.dumps(value, protocol=5)
    except Exception as error:  # whatever the author's classes raise
        raise Formless(f"a `{type(value).__qualname__}` cannot be pickled: {error}") from None
    return content.add([memoryview(data)]), len(data)


def get_pickle(content: Content, digest: str) -> Any:
    """What was kept so: by this store, under a hash that is verified first."""
    import pickle

    data = content.read(digest)
    try:
        return pickle.loads(data)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        raise TypeError(f"artifact {digest[:12]} cannot be unpickled: {why}") from None


def preview(path: Path, code: int, library: str) -> Any:
    """What a file holds, without reading it, and without the libraries that could."""
    size = path.stat().st_size
    match code:
        case _ if code == BYTES:
            return f"<{f'{library} model, ' if library else ''}{size} bytes>"
        case _ if code == TABLE:
            return f"<table of {library}, {size} bytes>"
        case _ if code == PICKLE:
            return f"<pickle, {size} bytes>"
    with path.open("rb") as file:
        header = msgspec.json.decode(file.read(int.from_bytes(file.read(8), "little")))
    shown = {name: f"<{told['dtype']} tensor {told['shape']}>" for name, told in header.items()}
    return shown[LONE] if library == LONE else shown


def is_tensor(value: Any) -> bool:
    """Whether it is a tensor of torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def is_plain(tensor: Any) -> bool:
    """Whether a tensor lies in memory element by element: it is not sparse."""
    return str(tensor.layout) == "torch.strided"


def form_of(value: Any) -> str:
    """Which form a library's value has; empty if none is known."""
    return form_of_class(type(value))
