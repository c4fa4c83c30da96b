"""The methods of gRPC whose answers are HTTP's. Messages are written by NVIDIA's generated code."""

import json

import pytest
from google.protobuf.json_format import ParseDict
from tritonclient.grpc import service_pb2 as theirs

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.answers import describe, refusal
from flowserve.core.wire.extension_routes import (
    LogSetting,
    RepositoryIndex,
    RepositoryLoad,
    RepositoryUnload,
    SharedMemoryRegister,
    SharedMemoryStatus,
    SharedMemoryUnregister,
    Statistics,
    TraceSetting,
)
from flowserve.core.wire.grpc.descriptions import method_response, question
from flowserve.core.wire.http2.rpc import code_of
from flowserve.core.wire.settings import TRACE

FP32 = DATATYPES["FP32"]
SIGNATURE = Signature((TensorSpec("fp32", FP32, (-1,)),), (TensorSpec("fp32_out", FP32, (-1,)),))

TABLE = Table(
    Version(Key("m", version), Model("m", version, SIGNATURE, lambda feed, outputs: [])) for version in (1, 2)
)


def described(method: str, /, serving: bool = True, **asked):
    given = question(method, getattr(theirs, f"{method}Request")(**asked).SerializeToString())
    try:
        answer = describe(given.route, TABLE, serving, "1.2")
    except Refused as refused:
        answer = refusal(refused)
    return answered(given, answer.status, answer.body)


def answered(given, status: int, body: bytes):
    name = f"{given.method}Response"
    return getattr(theirs, name).FromString(method_response(given, status, body))


def test_health():
    assert described("ServerLive").live
    assert described("ServerReady").ready
    assert described("ModelReady", name="m", version="1").ready
    assert not described("ModelReady", name="m", version="9").ready
    assert not described("ModelReady", name="none").ready
    assert not described("ServerReady", serving=False).ready
    assert not described("ModelReady", serving=False, name="m").ready


def test_metadata():
    server = described("ServerMetadata")
    assert (server.name, server.version) == ("flowserve", "1.2")
    assert "binary_tensor_data" in server.extensions
    model = described("ModelMetadata", name="m")
    assert (list(model.versions), model.platform) == (["1", "2"], "onnxruntime_onnx")
    assert list(described("ModelMetadata", name="m", version="1").versions) == ["1"]
    assert [(t.name, t.datatype, list(t.shape)) for t in model.inputs] == [("fp32", "FP32", [-1])]


def test_configuration():
    config = described("ModelConfig", name="m", version="1").config
    assert (config.name, config.backend, config.input[0].data_type) == ("m", "onnxruntime", 11)
    assert list(config.output[0].dims) == [-1]


def message_of(method: str, asked: dict) -> bytes:
    return ParseDict(asked, getattr(theirs, f"{method}Request")()).SerializeToString()


@pytest.mark.parametrize(
    ("method", "asked", "route", "body"),
    [
        ("RepositoryIndex", {"ready": True}, RepositoryIndex(), {"ready": True}),
        ("ModelStatistics", {"name": "m", "version": "2"}, Statistics("m", "2"), {}),
        (
            "RepositoryModelLoad",
            {"model_name": "m", "parameters": {"file:1/model.onnx": {"bytes_param": "b25ueA=="}}},
            RepositoryLoad("m"),
            {"parameters": {"file:1/model.onnx": "b25ueA=="}},
        ),
        (
            "RepositoryModelUnload",
            {"model_name": "m", "parameters": {"unload_dependents": {"bool_param": True}}},
            RepositoryUnload("m"),
            {"parameters": {"unload_dependents": True}},
        ),
        ("SystemSharedMemoryStatus", {"name": "r"}, SharedMemoryStatus(False, "r"), {}),
        (
            "SystemSharedMemoryRegister",
            {"name": "r", "key": "/r", "byte_size": 8},
            SharedMemoryRegister(False, "r"),
            {"key": "/r", "offset": 0, "byte_size": 8},
        ),
        ("SystemSharedMemoryUnregister", {}, SharedMemoryUnregister(False, ""), {}),
        ("CudaSharedMemoryUnregister", {}, SharedMemoryUnregister(True, ""), {}),
        ("TraceSetting", {}, TraceSetting(False), {}),
        (
            "TraceSetting",
            {
                "model_name": "m",
                "settings": {
                    "trace_level": {"value": ["OFF"]},
                    "trace_rate": {"value": ["9"]},
                    "trace_count": {},
                },
            },
            TraceSetting(True, "m"),
            {"trace_level": ["OFF"], "trace_rate": "9", "trace_count": None},
        ),
        ("LogSettings", {}, LogSetting(False), {}),
        (
            "LogSettings",
            {"settings": {"log_info": {"bool_param": False}, "log_verbose_level": {"uint32_param": 1}}},
            LogSetting(True),
            {"log_info": False, "log_verbose_level": 1},
        ),
    ],
)
def test_what_extensions_ask(method, asked, route, body):
    given = question(method, message_of(method, asked))
    assert (given.route, json.loads(given.body)) == (route, body)


def test_what_extensions_answer():
    index = [{"name": "m", "version": "1", "state": "READY", "reason": ""}]
    models = answered(question("RepositoryIndex", b""), 200, json.dumps(index).encode()).models
    assert [(m.name, m.version, m.state) for m in models] == [("m", "1", "READY")]
    statistics = {
        "model_stats": [{"name": "m", "inference_stats": {"success": {"count": 3, "ns": 5}}, "new": 1}]
    }
    stats = answered(question("ModelStatistics", b""), 200, json.dumps(statistics).encode()).model_stats
    assert (stats[0].name, stats[0].inference_stats.success.count) == ("m", 3)
    region = {"name": "r", "key": "/r", "offset": 0, "byte_size": 8}
    regions = answered(question("SystemSharedMemoryStatus", b""), 200, json.dumps([region]).encode()).regions
    assert (regions["r"].key, regions["r"].byte_size) == ("/r", 8)
    trace = answered(question("TraceSetting", b""), 200, json.dumps(TRACE).encode()).settings
    assert {name: list(setting.value) for name, setting in trace.items()} == TRACE | {
        name: [value] for name, value in TRACE.items() if isinstance(value, str)
    }
    log = {"log_info": True, "log_verbose_level": 2, "log_format": "default"}
    settings = answered(question("LogSettings", b""), 200, json.dumps(log).encode()).settings
    assert settings["log_info"].bool_param is True
    assert settings["log_verbose_level"].uint32_param == 2
    assert settings["log_format"].string_param == "default"
    assert answered(question("RepositoryModelLoad", b""), 200, b"") == theirs.RepositoryModelLoadResponse()


def test_a_request_that_is_none():
    with pytest.raises(Refused, match=r"\[FS201\] the request is not a ModelReadyRequest"):
        question("ModelReady", b"\xff")


@pytest.mark.parametrize("method", ["RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload"])
def test_there_is_one_repository(method):
    with pytest.raises(Refused, match=r"\[FS201\] `repository_name` must be left out"):
        question(method, message_of(method, {"repository_name": "other"}))


def test_a_setting_without_a_value():
    with pytest.raises(Refused, match=r"\[FS201\] `settings` must have a value for \"log_info\""):
        question("LogSettings", message_of("LogSettings", {"settings": {"log_info": {}}}))


def test_codes():
    assert [code_of(status) for status in (400, 404, 429, 503, 500, 599)] == [
        "INVALID_ARGUMENT",
        "NOT_FOUND",
        "RESOURCE_EXHAUSTED",
        "UNAVAILABLE",
        "INTERNAL",
        "INTERNAL",
    ]
