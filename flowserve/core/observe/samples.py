"""Requests with what they brought and got, as lines: docs/formats/sampled-requests.md is the format."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from flowserve.core.models.model import Model
from flowserve.core.observe.ended import Ended, iso_time
from flowserve.core.observe.settings import Samples
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.tensors import Array, to_json

# Beyond this a tensor is described, and its elements are left out: the log is to be bounded.
_ELEMENTS_MAX = 1 << 20


class Exchanged(msgspec.Struct, frozen=True):
    """A request that a model has answered, and what it gave for it, in the order of `request.wanted`."""

    model: Model
    request: InferRequest
    outputs: Sequence[Array]

    @property
    def bytes(self) -> int:
        """How much memory it keeps."""
        return sum(array.nbytes for array in (*self.request.feed.values(), *self.outputs))


class Sample(msgspec.Struct, frozen=True):
    """What is to be written of one."""

    ended: Ended
    exchanged: Exchanged


def share_of(settings: Samples, model: str) -> float:
    """How large a share of a model's requests is written."""
    return settings.shares.get(model, settings.share)


def sample_line(sample: Sample, settings: Samples) -> bytes:
    """A line of the log of samples."""
    ended, exchanged = sample.ended, sample.exchanged
    hidden = {name for key in (ended.model, "*") for name in settings.redact.get(key, ())}
    feed, signature = exchanged.request.feed, exchanged.model.signature
    inputs = [(spec, feed[spec.name]) for spec in signature.inputs if spec.name in feed]
    outputs = [
        (wanted.spec, array)
        for wanted, array in zip(exchanged.request.wanted, exchanged.outputs, strict=True)
    ]
    line = {
        "format": 1,
        "time": iso_time(ended.ended_s),
        "model": ended.model,
        "version": ended.version,
        "request_id": ended.request_id,
        "rows": ended.rows,
        "ms": round(ended.ms, 3),
        "inputs": _tensors(inputs, hidden, ended.rows, settings.rows),
        "outputs": _tensors(outputs, set(), ended.rows, settings.rows),
    }
    return msgspec.json.encode(line) + b"\n"


def _tensors(
    tensors: Iterable[tuple[Any, Array]], hidden: set[str], rows: int, rows_max: int
) -> Mapping[str, Any]:
    written: dict[str, Any] = {}
    for spec, array in tensors:
        tensor: dict[str, Any] = {"datatype": spec.datatype.name, "shape": list(array.shape)}
        if spec.name in hidden or "*" in hidden:
            tensor["redacted"] = True
        else:
            kept = array[:rows_max] if array.ndim and array.shape[0] == rows else array
            if len(kept) < len(array) if kept.ndim else False:
                tensor["kept"] = len(kept)
            if kept.size > _ELEMENTS_MAX:
                tensor["kept"] = 0
                kept = kept[:0] if kept.ndim else kept
            tensor["data"] = to_json(kept, spec.datatype)
        written[spec.name] = tensor
    return written
