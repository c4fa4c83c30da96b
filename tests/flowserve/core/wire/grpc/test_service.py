"""The service's definition, held against the code that NVIDIA generates from Triton's."""

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from tritonclient.grpc import model_config_pb2, service_pb2

from flowserve.core.wire.grpc.proto import read_service
from flowserve.core.wire.grpc.service import inference_service
from flowserve.core.wire.grpc.standard import health_service

SERVICE = inference_service()
THEIRS = {
    **service_pb2.DESCRIPTOR.message_types_by_name,
    **model_config_pb2.DESCRIPTOR.message_types_by_name,
}


def fields(message) -> dict[str, tuple]:
    """What of each field stands on the wire, or says which excludes which."""
    return {
        field.name: (
            field.number,
            field.type,
            field.is_repeated,
            field.containing_oneof.name if field.containing_oneof else "",
            field.message_type.name if field.message_type else "",
            bool(field.message_type and field.message_type.GetOptions().map_entry),
        )
        for field in message.fields
    }


def nested(message) -> dict:
    return {n.name: n for n in message.nested_types}


# Of these Triton says more.
PARTIAL = {
    *("ModelConfig", "ModelDynamicBatching", "ModelEnsembling", "ModelInput", "ModelInstanceGroup"),
    *("ModelOutput", "ModelStatistics"),
}


@pytest.mark.parametrize("name", sorted(name for name in SERVICE.messages if "." not in name))
def test_a_message_is_theirs(name):
    ours, theirs = SERVICE.messages[name].DESCRIPTOR, THEIRS[name]
    wanted = fields(theirs)
    if name in PARTIAL:
        wanted = {field: wanted[field] for field in fields(ours)}
    assert fields(ours) == wanted
    for inner, message in nested(ours).items():
        assert fields(message) == fields(nested(theirs)[inner])


def test_the_methods_are_theirs():
    theirs = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    assert SERVICE.name == theirs.full_name
    assert {
        (m.name, m.request.DESCRIPTOR.full_name, m.response.DESCRIPTOR.full_name)
        for m in SERVICE.methods.values()
    } <= {(m.name, m.input_type.full_name, m.output_type.full_name) for m in theirs.methods}


def test_the_datatypes_are_theirs():
    ours = SERVICE.messages["ModelInput"].DESCRIPTOR.fields_by_name["data_type"].enum_type
    assert {v.name: v.number for v in ours.values} == dict(model_config_pb2.DataType.items())


def test_health():
    check = health_service().methods["Check"]
    assert health_service().name == "grpc.health.v1.Health"
    assert check.response(status="SERVING").SerializeToString() == b"\x08\x01"


def test_a_definition_with_all_that_is_read():
    service = read_service("""
        package shop;  // as in a street
        enum Size { SMALL = 0; LARGE = 1; }
        message Order {
          message Line { string what = 1; Size size = 2; }
          repeated Line lines = 1;
          map<string, Line> by_name = 2;
          oneof paid { bool cash = 3; int64 card = 4; }
        }
        message Bill {}
        service Shop {
          rpc Buy(Order) returns (Bill);
          rpc Queue(stream Order) returns (stream Bill);
        }
    """)
    order = service.messages["Order"](lines=[{"what": "tea", "size": "LARGE"}], card=5)
    order.by_name["tea"].size = 1
    back = service.methods["Buy"].request.FromString(order.SerializeToString())
    assert (back.lines[0].what, back.by_name["tea"].size, back.WhichOneof("paid")) == ("tea", 1, "card")
    (shop,) = FileDescriptorProto.FromString(service.file).service
    assert [(m.client_streaming, m.server_streaming) for m in shop.method] == [(False, False), (True, True)]
    assert shop.method[0].input_type == ".shop.Order"


def test_a_definition_with_a_mistake():
    with pytest.raises(AssertionError, match="expected `;`, got `}`"):
        read_service("message A { string b = 1 }")
