"""Inference responses of the Open Inference Protocol v2, over HTTP.

Sources: as `protocol`. What is the same in every response of a model, which is most of it, is encoded once.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import msgspec

from flowserve.core.arrays import Array
from flowserve.core.datatypes import DATATYPES
from flowserve.core.wire.classification import best_classes
from flowserve.core.wire.protocol import InferRequest
from flowserve.core.wire.tensors import to_binary, to_json


class InferResponse(msgspec.Struct, frozen=True):
    """An encoded response. It is `binary` where bytes follow the JSON: none do of empty tensors."""

    header: bytes
    tensors: tuple[bytes, ...] = ()
    binary: bool = False


_encode = msgspec.json.Encoder().encode


def encode_response(
    name: str, version: int, request: InferRequest, outputs: Sequence[Array]
) -> InferResponse:
    """Write the response of a model; `outputs` are in the order of `request.wanted`.

    Those that were asked for in shared memory are copied there: raises `Refused` FS232 if that is too small.
    """
    described: list[bytes] = []
    tensors: list[bytes] = []
    assert len(request.wanted) == len(outputs)
    for wanted, array in zip(request.wanted, outputs):  # noqa: B905 - `strict` costs more than to ask before
        spec, datatype = wanted.spec, wanted.spec.datatype
        if wanted.classes:
            array, datatype = best_classes(array, wanted.classes, spec.labels), DATATYPES["BYTES"]
        opening = _tensor_opening(spec.name, datatype.name, array.shape)
        if wanted.slot is not None:
            put = wanted.slot.put(to_binary(array, datatype), f"output `{spec.name}`")
            described.append(b'%b,"parameters":%b}' % (opening, _encode(put)))
        elif wanted.binary:
            tensors.append(to_binary(array, datatype))
            described.append(b'%b,"parameters":{"binary_data_size":%d}}' % (opening, len(tensors[-1])))
        else:
            described.append(opening + b',"data":' + _encode(to_json(array, datatype)) + b"}")
    end = b"]"
    if request.id:
        end += b',"id":' + _encode(request.id)
    header = _opening(name, version) + b",".join(described) + end + b"}"
    return InferResponse(header, tuple(tensors), any(tensors))


@functools.lru_cache(1024)
def _opening(name: str, version: int) -> bytes:
    return _encode({"model_name": name, "model_version": str(version)})[:-1] + b',"outputs":['


@functools.lru_cache(1024)
def _tensor_opening(name: str, datatype: str, shape: tuple[int, ...]) -> bytes:
    return _encode({"name": name, "datatype": datatype, "shape": shape})[:-1]
