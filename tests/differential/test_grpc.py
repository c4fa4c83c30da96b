"""The same gRPC requests to a real Triton and to our server: status and answer are the same.

Under a reason stand requests that are answered differently on purpose, with both statuses.
"""

import base64
import struct

import grpc
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.differential.comparing import alike
from tests.differential.talking import PATIENCE_S

pytestmark = pytest.mark.slow

BYTES = struct.pack("<2f", 1, 2)


def x(**fields):
    return {"name": "x", "shape": [1, 2], "datatype": "FP32"} | fields


def infer(model="echo", inputs=None, raw=(BYTES,), **fields):
    contents = [base64.b64encode(data).decode() for data in raw]
    inputs = [x()] if inputs is None else inputs
    return "ModelInfer", {"model_name": model, "inputs": inputs, "raw_input_contents": contents} | fields


def typed(**contents):
    return infer(inputs=[x(contents=contents)], raw=[])


def parameter(**value):
    return infer(parameters={"mine": value})


def wanted(name, **parameters):
    return {"name": name, "parameters": parameters}


def strings(data, count=1):
    contents = {"bytes_contents": [base64.b64encode(of).decode() for of in data]}
    return infer("strings", [{"name": "x", "shape": [count], "datatype": "BYTES", "contents": contents}], [])


def sums(*tensors):
    of = [
        {"name": name, "shape": [1], "datatype": "INT32", "contents": {"int_contents": [n]}}
        for name, n in tensors
    ]
    return infer("sums", of, [])


REGION = {"shared_memory_region": {"string_param": "r"}, "shared_memory_byte_size": {"int64_param": 8}}

SAME = [
    *((name, {}) for name in ("ServerLive", "ServerReady", "ServerMetadata", "RepositoryIndex")),
    *(
        (name, {})
        for name in ("SystemSharedMemoryStatus", "CudaSharedMemoryStatus", "TraceSetting", "LogSettings")
    ),
    *(
        ("ModelReady", {"name": name, "version": version})
        for name in ("echo", "none")
        for version in ("", "1", "9")
    ),
    *(
        ("ModelMetadata", {"name": name, "version": "1"})
        for name in ("echo", "sums", "kinds", "rows", "none")
    ),
    ("ModelMetadata", {"name": "echo"}),
    ("ModelMetadata", {"name": "echo", "version": "9"}),
    ("ModelMetadata", {}),
    *(("ModelConfig", {"name": name}) for name in ("echo", "sums", "classes", "rows", "none")),
    ("RepositoryIndex", {"ready": True}),
    ("RepositoryModelLoad", {"model_name": "sums"}),
    ("SystemSharedMemoryStatus", {"name": "r"}),
    ("SystemSharedMemoryUnregister", {"name": "r"}),
    ("SystemSharedMemoryUnregister", {}),
    ("CudaSharedMemoryUnregister", {}),
    ("CudaSharedMemoryRegister", {"name": "r", "byte_size": 8}),
    ("TraceSetting", {"model_name": "echo"}),
    ("TraceSetting", {"settings": {"trace_level": {"value": ["OFF"]}}}),
    ("TraceSetting", {"settings": {"trace_rate": {}}}),
    (
        "LogSettings",
        {"settings": {"log_info": {"bool_param": True}, "log_verbose_level": {"uint32_param": 0}}},
    ),
    ("LogSettings", {"settings": {"log_info": {"string_param": "yes"}}}),
    # Inference
    infer(),
    infer(id="7"),
    infer(model_version="1"),
    infer(model_version="9"),
    infer("none"),
    infer(""),
    *(infer(raw=raw) for raw in ([BYTES[:7]], [BYTES + b"1"], [])),
    infer(inputs=[]),
    infer(inputs=[], raw=[]),
    *(infer(inputs=[x(**wrong)]) for wrong in ({"name": "z"}, {"datatype": "FP64"}, {"datatype": ""})),
    *(infer(inputs=[x(shape=shape)]) for shape in ([2], [-1, 2], [])),
    infer(inputs=[x(shape=[0, 2])], raw=[b""]),
    infer(inputs=[x(), x()], raw=[BYTES, BYTES]),
    typed(fp32_contents=[1, 2]),
    typed(fp32_contents=[1]),
    typed(fp32_contents=[1, 2, 3]),
    typed(fp64_contents=[1, 2]),
    typed(fp32_contents=[1, 2], fp64_contents=[1]),
    typed(fp32_contents=["NaN", "Infinity"]),
    infer(inputs=[x(contents={"fp32_contents": [1, 2]})]),
    strings([b"a"]),
    strings([b"", "é".encode()], 2),
    strings([b"a"], 2),
    infer("strings", [x(shape=[1], datatype="BYTES")], [b"\1\0\0\0a"]),
    infer("strings", [x(shape=[1], datatype="BYTES")], [b"\2\0\0\0a"]),
    sums(("a", 1), ("b", 5)),
    sums(("a", 1)),
    infer(outputs=[wanted("y")]),
    infer(outputs=[wanted("y"), wanted("y")]),
    infer(outputs=[wanted("z")]),
    infer(outputs=[wanted("y", mine={"string_param": "1"})]),
    infer(outputs=[wanted("y", classification={"string_param": "1"})]),
    infer("rows", [x(shape=[2, 2])], [BYTES * 2], outputs=[wanted("y", classification={"int64_param": 1})]),
    infer("classes", [x(shape=[1, 4])], [BYTES * 2], outputs=[wanted("same")]),
    *(parameter(**value) for value in ({"string_param": "x"}, {"int64_param": 1}, {"bool_param": True}, {})),
    parameter(double_param=1.5),
    infer(parameters={"priority": {"int64_param": 1}, "timeout": {"int64_param": 10**7}}),
    infer(parameters={"priority": {"string_param": "x"}}),
    infer(parameters={"timeout": {"string_param": "x"}}),
    infer(parameters={"triton_mine": {"string_param": "x"}}),
    infer(parameters={"triton_enable_empty_final_response": {"bool_param": True}}),
    infer(parameters={"sequence_id": {"int64_param": 1}}),
    infer(inputs=[x(parameters={"mine": {"int64_param": 1}})]),
    infer(inputs=[x(parameters=REGION)], raw=[]),
    # What was counted of that
    ("ModelStatistics", {}),
    ("ModelStatistics", {"name": "sums"}),
    ("ModelStatistics", {"name": "sums", "version": "1"}),
]
DIFFERENT = {
    ("what is wrong with the request is not INTERNAL", "INTERNAL", "INVALID_ARGUMENT"): [
        ("RepositoryModelLoad", {"model_name": "none"}),
        ("SystemSharedMemoryRegister", {"name": "r", "key": "/no-such-memory", "byte_size": 8}),
    ],
    ("what is not there is NOT_FOUND", "INVALID_ARGUMENT", "NOT_FOUND"): [
        ("ModelStatistics", {"name": "none"}),
        ("ModelStatistics", {"name": "echo", "version": "9"}),
    ],
    ("a version may be an alias, which need not be a number", "INVALID_ARGUMENT", "NOT_FOUND"): [
        ("ModelMetadata", {"name": "echo", "version": "x"}),
        infer(model_version="x"),
    ],
    ("nor is one that there is none of ready", "INVALID_ARGUMENT", "OK"): [
        ("ModelReady", {"name": "echo", "version": "x"})
    ],
    ("one status serves for both", "UNIMPLEMENTED", "INVALID_ARGUMENT"): [
        ("RepositoryIndex", {"repository_name": "other"}),
        ("RepositoryModelLoad", {"model_name": "sums", "repository_name": "other"}),
    ],
    ("a name that is wrong is told", "OK", "INVALID_ARGUMENT"): [
        ("RepositoryModelUnload", {"model_name": "none"})
    ],
    ("CUDA memory is refused whatever is asked of it", "NOT_FOUND", "INVALID_ARGUMENT"): [
        ("CudaSharedMemoryStatus", {"name": "r"})
    ],
    ("a setting that has no effect is refused, rather than forgotten", "OK", "INVALID_ARGUMENT"): [
        ("LogSettings", {"settings": {"nonsense": {"bool_param": True}}}),
        ("TraceSetting", {"settings": {"nonsense": {"value": ["1"]}}}),
    ],
    ("tensors that belong to no input are refused", "OK", "INVALID_ARGUMENT"): [infer(raw=[BYTES, BYTES])],
    ("ONNX's strings are UTF-8", "OK", "INVALID_ARGUMENT"): [strings([b"\xff"])],
    ("a wait is not negative", "OK", "INVALID_ARGUMENT"): [
        infer(parameters={"timeout": {"int64_param": -1}})
    ],
    ("the protocol has these too by now", "INVALID_ARGUMENT", "OK"): [parameter(uint64_param=1)],
    ("sequences have no meaning here", "INVALID_ARGUMENT", "OK"): [
        infer(parameters={"sequence_id": {"bool_param": True}})
    ],
    ("each row is ranked", "OK", "OK"): [infer(outputs=[wanted("y", classification={"int64_param": 1})])],
}


@pytest.fixture(scope="module")
def stubs(both):
    with (
        grpc.insecure_channel(both.triton.grpc) as triton,
        grpc.insecure_channel(both.flowserve.grpc) as flowserve,
    ):
        yield [service_pb2_grpc.GRPCInferenceServiceStub(channel) for channel in (triton, flowserve)]


def ask(stub, method, fields):
    """The status, and the message or what is said of the failure."""
    kind = f"{method}Request"
    try:
        answer = getattr(stub, method)(ParseDict(fields, getattr(service_pb2, kind)()), timeout=PATIENCE_S)
    except grpc.RpcError as error:
        return error.code().name, error.details()
    return "OK", MessageToDict(
        answer, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


STREAM = [
    infer(id="1"),
    infer("none", id="2"),
    infer(id="3", raw=[BYTES[:7]]),
    infer(id="4", parameters={"triton_enable_empty_final_response": {"bool_param": True}}),
    infer(id="5", outputs=[wanted("z")]),
    sums(("a", 1), ("b", 5)),
]


def said(answer):
    """A message of a stream, of a refusal only that it is one."""
    fields = MessageToDict(answer, preserving_proto_field_name=True)
    return "error_message" in fields, alike(fields.get("infer_response"))


@pytest.mark.parametrize("asked", [STREAM, STREAM[1:2], []], ids=len)
def test_streams_are_the_same(stubs, asked):
    def messages():
        return iter([ParseDict(fields, service_pb2.ModelInferRequest()) for _, fields in asked])

    theirs, ours = (list(map(said, s.ModelStreamInfer(messages(), timeout=PATIENCE_S))) for s in stubs)
    # In which order they come, one after the other, is Triton's scheduler's choice.
    assert sorted(ours, key=str) == sorted(theirs, key=str)
    assert len(ours) == len(asked)


@pytest.mark.parametrize(("method", "fields"), SAME, ids=str)
def test_the_answers_are_the_same(stubs, method, fields):
    (their_status, theirs), (our_status, ours) = (ask(stub, method, fields) for stub in stubs)
    assert our_status == their_status, (theirs, ours)
    if our_status == "OK":
        assert alike(ours) == alike(theirs)
    else:
        assert ours.startswith("[FS")


@pytest.mark.parametrize(
    ("statuses", "asked"), [(of, asked) for of, cases in DIFFERENT.items() for asked in cases], ids=str
)
def test_the_answers_differ_on_purpose(stubs, statuses, asked):
    answers = [ask(stub, *asked) for stub in stubs]
    assert [status for status, _ in answers] == list(statuses[1:])
    assert alike(answers[0][1]) != alike(answers[1][1]), "there is no difference any more"
