"""The element types of the Open Inference Protocol, and what each is called elsewhere.

Free of numpy, so that a command that only reads a repository does not pay for it.
"""

from __future__ import annotations

import msgspec


class Datatype(msgspec.Struct, frozen=True):
    """An element type. `size` is in bytes, 0 for BYTES, whose elements differ in length."""

    name: str
    onnx: int
    """`TensorProto.DataType` of onnx.proto."""
    runtime: str
    """How onnxruntime writes it, as in `tensor(float)`."""
    numpy: str
    """Always little-endian, as the binary tensor extension demands."""
    size: int

    @property
    def config(self) -> str:
        """The name in `config.pbtxt` (`DataType` of Triton's model_config.proto)."""
        return "TYPE_STRING" if self.name == "BYTES" else f"TYPE_{self.name}"


_ALL = (
    Datatype("BOOL", 9, "bool", "?", 1),
    Datatype("INT8", 3, "int8", "<i1", 1),
    Datatype("INT16", 5, "int16", "<i2", 2),
    Datatype("INT32", 6, "int32", "<i4", 4),
    Datatype("INT64", 7, "int64", "<i8", 8),
    Datatype("UINT8", 2, "uint8", "<u1", 1),
    Datatype("UINT16", 4, "uint16", "<u2", 2),
    Datatype("UINT32", 12, "uint32", "<u4", 4),
    Datatype("UINT64", 13, "uint64", "<u8", 8),
    Datatype("FP16", 10, "float16", "<f2", 2),
    Datatype("BF16", 16, "bfloat16", "<u2", 2),
    Datatype("FP32", 1, "float", "<f4", 4),
    Datatype("FP64", 11, "double", "<f8", 8),
    # Elements are `str`: ONNX strings are UTF-8, and onnxruntime would write a `bytes` as "b'...'".
    Datatype("BYTES", 8, "string", "O", 0),
)

DATATYPES = {datatype.name: datatype for datatype in _ALL}
BY_ONNX = {datatype.onnx: datatype for datatype in _ALL}
BY_RUNTIME = {f"tensor({datatype.runtime})": datatype for datatype in _ALL}
