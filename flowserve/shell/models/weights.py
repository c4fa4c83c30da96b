"""Large weights: beside the model in a file of their own, so that processes can map and share them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from flowserve.core.memory.tiers import EAGER
from flowserve.core.models.key import Key
from flowserve.core.models.settings import ModelSettings, PerModel
from flowserve.shell.models.writing import MODEL_FILE, NOT_WEIGHTS, WEIGHTS_FILE

EXTERNAL_BYTES_MIN = 16 * 2**20
"""Models whose weights are smaller in all keep them: to read so few costs nothing."""

_TENSOR_BYTES_MIN = 1024  # smaller ones are shapes and axes, which are needed to read the graph
_PAGE_BYTES = 4096


class Size(msgspec.Struct, frozen=True):
    """What a version takes in memory: of each process, and a process's share of what they all have mapped."""

    private: int
    shared: int = 0


def parted(content: bytes, least: int = EXTERNAL_BYTES_MIN) -> dict[str, bytes]:
    """Return the files of an ONNX model: one, or two if its weights have at least so many bytes.

    The same model gives the same files. Every tensor begins a page, to be used where it is mapped.
    """
    if len(content) < least:
        return {MODEL_FILE: content}
    import onnx

    model = onnx.load_model_from_string(content)
    tensors = [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= _TENSOR_BYTES_MIN]
    if sum(len(tensor.raw_data) for tensor in tensors) < least:
        return {MODEL_FILE: content}
    weights = bytearray()
    for tensor in tensors:
        weights += bytes(-len(weights) % _PAGE_BYTES)
        _refer(tensor, len(weights), onnx.TensorProto.EXTERNAL, weights)
    return {MODEL_FILE: model.SerializeToString(deterministic=True), WEIGHTS_FILE: bytes(weights)}


def _refer(tensor: Any, offset: int, external: int, weights: bytearray) -> None:
    weights += tensor.raw_data
    said = {"location": WEIGHTS_FILE, "offset": offset, "length": len(tensor.raw_data)}
    for name, value in said.items():
        tensor.external_data.add(key=name, value=str(value))
    tensor.data_location = external
    tensor.ClearField("raw_data")


def is_mapped(folder: Path, settings: ModelSettings) -> bool:
    """Whether the weights of a version, whose folder it is, are used where they are mapped.

    Otherwise each process has its own, laid out for large batches.
    """
    wanted = settings.weights == "mapped" or (settings.weights == "auto" and settings.tier > EAGER)
    return wanted and bool(_sizes(folder)[1])


def size_on_disk(repository: Path, models: PerModel, processes: int, key: Key) -> Size:
    """What a version will take at least, by its files; nothing when they are gone."""
    folder = repository / key.name / str(key.version)
    own, weights = _sizes(folder)
    if is_mapped(folder, models.of(key.name)):
        return Size(own, weights // processes)
    return Size(own + weights)


def _sizes(folder: Path) -> tuple[int, int]:
    """How many bytes a version's own files have, and those that can only be weights."""
    own = weights = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_file() and not entry.name.startswith("."):
                    size = entry.stat().st_size
                    if entry.name in NOT_WEIGHTS:
                        own += size
                    else:
                        weights += size
    except OSError:
        return 0, 0
    return own, weights
