"""What server reflection tells, read as a client does that knows nothing but reflection."""

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.grpc.reflection import reflected
from flowserve.core.wire.grpc.standard import reflection_services

V1, V1ALPHA = reflection_services()


def ask(service=V1, **asked):
    method = service.methods["ServerReflectionInfo"]
    return method.response.FromString(reflected(service, method.request(**asked).SerializeToString()))


@pytest.mark.parametrize("service", [V1, V1ALPHA])
def test_the_services(service):
    answer = ask(service, list_services="", host="here")
    assert [known.name for known in answer.list_services_response.service] == [
        "inference.GRPCInferenceService",
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        "grpc.reflection.v1alpha.ServerReflection",
    ]
    assert (answer.valid_host, answer.original_request.host) == ("here", "here")


@pytest.mark.parametrize(
    "symbol",
    [
        "inference.GRPCInferenceService",
        "inference.GRPCInferenceService.ModelInfer",
        "inference.ModelInferRequest.InferInputTensor",
        "inference.DataType",
    ],
)
def test_a_client_can_make_messages_of_what_it_is_told(symbol):
    (data,) = ask(file_containing_symbol=symbol).file_descriptor_response.file_descriptor_proto
    file = descriptor_pb2.FileDescriptorProto.FromString(data)
    assert ask(file_by_filename=file.name).file_descriptor_response.file_descriptor_proto == [data]
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    method = pool.FindServiceByName("inference.GRPCInferenceService").methods_by_name["ModelStreamInfer"]
    assert (method.client_streaming, method.server_streaming) == (True, True)
    request = message_factory.GetMessageClass(method.input_type)(model_name="m")
    request.inputs.add(name="x").contents.fp32_contents.append(1)
    assert request.parameters["priority"].WhichOneof("parameter_choice") is None


def test_what_there_is_not():
    for asked in ({"file_by_filename": "x.proto"}, {"file_containing_symbol": "inference.None"}):
        error = ask(**asked).error_response
        assert (error.error_code, error.error_message.startswith("there is no `")) == (5, True)
    extension = {"containing_type": "inference.ModelConfig", "extension_number": 1}
    assert ask(file_containing_extension=extension).error_response.error_code == 5
    name = "inference.ModelConfig"
    answer = ask(all_extension_numbers_of_type=name).all_extension_numbers_response
    assert (answer.base_type_name, list(answer.extension_number)) == (name, [])
    with pytest.raises(Refused, match="FS201"):
        reflected(V1, b"\xff")
