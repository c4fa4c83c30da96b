"""Requests to the models of `twins`: good ones but for what is told."""

import struct

from tests.differential.talking import Asked, binary, infer
from tests.differential.twins import KINDS


def x(**fields):
    return {"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | fields


def echo(**fields):
    """Of the model `echo`: a good request but for these fields of its only input."""
    return infer("echo", {"inputs": [x(**fields)]})


def asking(**fields):
    """Likewise, but for these fields of the request."""
    return infer("echo", {"inputs": [x()]} | fields)


def text(fields: str) -> Asked:
    """Likewise, with these fields of the input word for word."""
    return infer("echo", f'{{"inputs":[{{"name":"x","shape":[1,2],"datatype":"FP32",{fields}}}]}}'.encode())


def wanted(*names, **parameters):
    return [{"name": name, "parameters": parameters} for name in names]


def classes(outputs, rows=2):
    tensor = x(shape=[rows, 4], data=[1, 2, 3, 4, 8, 7, 6, 5][: rows * 4])
    return infer("classes", {"inputs": [tensor], "outputs": outputs})


def sums(a, b, **fields):
    tensors = [
        {"name": name, "shape": [len(data)], "datatype": "INT32", "data": data}
        for name, data in (("a", a), ("b", b))
    ]
    return infer("sums", {"inputs": tensors} | fields)


def kinds(**wrong):
    """A value of every datatype, but for these."""
    values = {
        name: [wrong.get(name, "a" if name == "BYTES" else True if name == "BOOL" else 1)] for name in KINDS
    }
    tensors = [{"name": name, "shape": [1], "datatype": name, "data": data} for name, data in values.items()]
    return infer("kinds", {"inputs": tensors})


def rows(shape, **fields):
    return infer("rows", {"inputs": [x(shape=shape, data=[0] * (shape[0] * shape[-1]))]} | fields)


def raw(data, size=8, length=None, **fields):
    tensor = {"name": "x", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": size}}
    return binary("echo", {"inputs": [tensor]} | fields, data, length)


def strings(data=None, **fields):
    tensor = {"name": "x", "shape": [2], "datatype": "BYTES"}
    if isinstance(data, bytes):
        tensor |= {"parameters": {"binary_data_size": len(data)}}
        return binary("strings", {"inputs": [tensor]} | fields, data)
    return infer("strings", {"inputs": [tensor | {"data": data}]} | fields)


BYTES = struct.pack("<2f", 1, 2)
GOOD = {"inputs": [x()]}
