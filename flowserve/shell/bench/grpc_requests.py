"""Requests over gRPC. Imported only where they are asked for: they need grpcio."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

from flowc.plan.diagnostics import refuse
from flowserve.core.bench.requests import Feed
from flowserve.core.wire.addresses import parse_address
from flowserve.core.wire.tensors import to_binary

os.environ.setdefault("GRPC_VERBOSITY", "NONE")

try:
    import grpc
    import grpc.aio

    from flowserve.core.wire.grpc.service import inference_service
except ImportError:
    refuse("FS292", "`--grpc` needs grpcio, which is not installed", hint="`pip install grpcio` installs it")

_METHOD = "/inference.GRPCInferenceService/ModelInfer"


def grpc_request(model: str, feed: Feed) -> bytes:
    """A `ModelInferRequest` with raw tensors."""
    name, _, version = model.partition("/versions/")
    request = inference_service().messages["ModelInferRequest"](model_name=name, model_version=version)
    for tensor in feed:
        request.inputs.add(name=tensor.name, datatype=tensor.datatype.name, shape=tensor.array.shape)
        request.raw_input_contents.append(to_binary(tensor.array, tensor.datatype))
    return bytes(request.SerializeToString())


def open_call(address: str, tls: bool) -> tuple[Any, Any]:
    """A unary call that takes and gives bytes, and its channel. Raises `Refused` FS301."""
    target = str(parse_address(address, "FS301"))
    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    if tls:
        authorities = ssl.get_default_verify_paths().cafile  # those that HTTP trusts; grpcio has its own
        roots = Path(authorities).read_bytes() if authorities else None
        channel = grpc.aio.secure_channel(target, grpc.ssl_channel_credentials(roots), options)
    else:
        channel = grpc.aio.insecure_channel(target, options)
    return channel.unary_unary(_METHOD), channel
