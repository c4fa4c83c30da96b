"""Answers of gRPC's server reflection: which services there are, and how they are defined."""

from __future__ import annotations

from functools import cache

from google.protobuf.descriptor_pb2 import DescriptorProto, FileDescriptorProto
from google.protobuf.message import DecodeError

from flowc.plan.diagnostics import refuse
from flowserve.core.wire.grpc.proto import Service
from flowserve.core.wire.grpc.service import inference_service
from flowserve.core.wire.grpc.standard import health_service, reflection_services
from flowserve.core.wire.http2.rpc import STATUSES
from flowserve.core.wording import cut


def reflected(service: Service, data: bytes) -> bytes:
    """Answer a message of either version of reflection. Raises `Refused` FS201."""
    method = service.methods["ServerReflectionInfo"]
    try:
        asked = method.request.FromString(data)
    except DecodeError as error:
        refuse("FS201", f"the request is not a ServerReflectionRequest: {error}")
    response = method.response(valid_host=asked.host, original_request=asked)
    kind = asked.WhichOneof("message_request")
    if kind == "list_services":
        for known in _services():
            response.list_services_response.service.add(name=known.name)
    elif kind in ("file_by_filename", "file_containing_symbol"):
        name = getattr(asked, kind)
        file = _files().get(name) or _symbols().get(name.removeprefix("."))
        if file is not None:
            response.file_descriptor_response.file_descriptor_proto.append(file)
        else:
            response.error_response.error_code = STATUSES["NOT_FOUND"]
            response.error_response.error_message = f"there is no `{cut(name)}`"
    elif kind == "all_extension_numbers_of_type":
        response.all_extension_numbers_response.base_type_name = asked.all_extension_numbers_of_type
    else:
        response.error_response.error_code = STATUSES["NOT_FOUND"]
        response.error_response.error_message = "there are no extensions"
    return bytes(response.SerializeToString())


def _services() -> tuple[Service, ...]:
    return inference_service(), health_service(), *reflection_services()


@cache
def _files() -> dict[str, bytes]:
    return {FileDescriptorProto.FromString(of.file).name: of.file for of in _services()}


@cache
def _symbols() -> dict[str, bytes]:
    """By the whole name of a service, a method, a message or an enum: the file that defines it."""
    found: dict[str, bytes] = {}
    for data in _files().values():
        file = FileDescriptorProto.FromString(data)
        names = [f"{of.name}.{method.name}" for of in file.service for method in of.method]
        names += [of.name for of in (*file.service, *file.enum_type)]
        for message in file.message_type:
            names += _messages(message)
        found |= {f"{file.package}.{name}": data for name in names}
    return found


def _messages(message: DescriptorProto) -> list[str]:
    inner = [name for nested in message.nested_type for name in _messages(nested)]
    return [message.name, *(f"{message.name}.{name}" for name in inner)]
