"""The same HTTP requests to a real Triton and to our server: the answers say the same.

Under the name of a difference (`comparing.DIFFERENCES`) stand requests whose answers differ so.
"""

import json
import struct

import pytest

from tests.differential.asking import (
    BYTES,
    GOOD,
    asking,
    classes,
    echo,
    kinds,
    raw,
    rows,
    strings,
    sums,
    text,
    wanted,
    x,
)
from tests.differential.comparing import DIFFERENCES, difference
from tests.differential.talking import Asked, binary, get, infer, post

pytestmark = pytest.mark.slow


CASES: dict[str, list[Asked]] = {}
CASES[""] = [
    # Health and descriptions
    *(
        get(path)
        for path in ("/v2", "/v2/health/live", "/v2/health/ready", "/v2/health", "/v2/models", "/v2/x", "/v3")
    ),
    *(
        get(f"/v2/models/echo{rest}")
        for rest in ("", "/versions/1", "/versions/9", "/versions/x", "/versions/-1")
    ),
    *(get(f"/v2/models/echo{rest}") for rest in ("/ready", "/versions/1/ready", "/versions", "?x=1", "/x")),
    *(get(f"/v2/models/none{rest}") for rest in ("", "/config", "/versions/1", "/versions/1/config")),
    *(get(f"/v2/models/{name}") for name in ("sums", "strings", "classes", "rows", "fixed", "kinds")),
    *(get(f"/v2/models/{name}/config") for name in ("echo", "sums", "classes", "rows", "fixed", "kinds")),
    get("/v2/models/echo/versions/1/config"),
    get("/v2/models/echo/versions/9/config"),
    # Methods
    *(
        Asked(method, path)
        for method in ("PUT", "DELETE", "OPTIONS", "PATCH")
        for path in (
            "/v2",
            "/v2/health/live",
            "/v2/models/echo",
            "/v2/models/echo/infer",
            "/v2/repository/index",
        )
    ),
    *(post(path) for path in ("/v2", "/v2/health/ready", "/v2/models/echo", "/v2/models/echo/ready")),
    *(get(path) for path in ("/v2/models/echo/infer", "/v2/models/none/infer", "/v2/repository/index")),
    Asked("HEAD", "/v2/models/echo/infer"),
    # Inference in JSON
    asking(),
    asking(id="7"),
    asking(id=""),
    asking(id="é😀\n"),
    asking(extra=1),
    echo(extra=1),
    echo(data=[[1, 2]]),
    echo(shape=[2, 1]),
    echo(shape=[2, 1], data=[[1], [2]]),
    echo(shape=[0, 2], data=[]),
    echo(data=[0.1, 16777217]),
    echo(data=[1e-60, -0.0]),
    echo(data=[3.4028235e38, 2**64 - 1]),
    echo(shape=[2]),
    echo(shape=[1, 1, 2]),
    echo(datatype="FP64"),
    echo(name="z"),
    echo(name=""),
    infer("echo", {"inputs": [x(), x()]}),
    infer("echo", {"inputs": [x(), x(name="z")]}),
    infer("echo", {"inputs": []}),
    infer("echo", b""),
    *(infer("echo", {"inputs": wrong}) for wrong in ([None], [[]], [{}], [{"name": "x"}])),
    *(infer("echo", GOOD, version) for version in ("1", "2", "9", "x", "-1", "1.0")),
    infer("none", GOOD),
    infer("none", b"nonsense"),
    *(
        infer("echo", GOOD, Content_Type=kind)
        for kind in ("application/json", "application/octet-stream", "x")
    ),
    *(
        infer("echo", GOOD, Accept_Encoding=coding)
        for coding in ("gzip", "deflate", "br", "*", "gzip, deflate")
    ),
    infer("fixed", {"inputs": [x(shape=[2, 2], datatype="FP64", data=[[1, 2], [3, 1e308]])]}),
    infer("fixed", {"inputs": [x(shape=[4], datatype="FP64", data=[1, 2, 3, 4])]}),
    infer("fixed", {"inputs": [x(shape=[1, 2, 2], datatype="FP64", data=[1, 2, 3, 4])]}),
    sums([1, 2], [3, 4]),
    sums([1, 2], [3]),
    sums([2**31 - 1], [1]),
    sums([-(2**31)], [0]),
    infer("sums", {"inputs": [{"name": "a", "shape": [1], "datatype": "INT32", "data": [1]}]}),
    strings(["a", "é"]),
    strings(["", '\0 \\ " / \n']),
    rows([2, 2]),
    rows([8, 2]),
    rows([2, 3]),
    # Outputs
    asking(outputs=[]),
    asking(outputs=wanted("y")),
    asking(outputs=wanted("y", "y")),
    asking(outputs=wanted("z")),
    asking(outputs=wanted("y", other="x")),
    asking(outputs=wanted("y", binary_data=True)),
    asking(outputs=[*wanted("y", binary_data=True), *wanted("y")]),
    asking(parameters={"binary_data_output": True}),
    asking(parameters={"binary_data_output": True}, outputs=wanted("y", binary_data=False)),
    asking(parameters={"binary_data_output": False}, outputs=wanted("y", binary_data=True)),
    sums([1, 2], [3, 4], outputs=wanted("difference")),
    sums([1, 2], [3, 4], outputs=wanted("sum", "difference", binary_data=True)),
    sums([1, 2], [3, 4], parameters={"binary_data_output": True}),
    strings(["a", "é"], parameters={"binary_data_output": True}),
    rows([2, 2], outputs=wanted("y", classification=1)),
    rows([2, 2], outputs=wanted("y", classification=9, binary_data=True)),
    classes(wanted("scores", classification=0)),
    # Parameters
    asking(parameters={}),
    asking(parameters={"mine": "x", "n": 1, "f": 1.5, "b": True}),
    asking(parameters={"priority": 1, "timeout": 10_000_000}),
    asking(parameters={"sequence_id": 1, "sequence_start": True}),
    asking(parameters={"sequence_id": "s"}),
    asking(parameters={"triton_mine": 1}),
    echo(parameters={"mine": 1}),
    echo(parameters={"shared_memory_region": "r"}),
    echo(parameters={"binary_data_size": "8"}),
    # Binary tensors
    raw(BYTES),
    raw(BYTES, parameters={"binary_data_output": True}),
    raw(BYTES, outputs=wanted("y", binary_data=True)),
    raw(struct.pack("<2f", float("nan"), float("-inf")), parameters={"binary_data_output": True}),
    raw(BYTES, length=""),
    raw(BYTES[:7]),
    raw(b""),
    raw(BYTES + b"more"),
    raw(BYTES, size=4),
    raw(BYTES, size=12),
    raw(BYTES, size=2**40),
    *(raw(BYTES, length=wrong) for wrong in ("0", "-1", "x", "99999", "9" * 20)),
    binary("echo", GOOD, b""),
    binary("echo", {"inputs": [x(parameters={"binary_data_size": 8})]}, BYTES),
    strings(b"\1\0\0\0a\0\0\0\0"),
    strings(b"\2\0\0\0\xc3\xa9\0\0\0\0", parameters={"binary_data_output": True}),
    # Statistics, settings, shared memory, repository
    *(get(path) for path in ("/v2/models/echo/versions/2/stats", "/v2/models/sums/stats", "/v2/logging")),
    *(get(path) for path in ("/v2/trace/setting", "/v2/models/echo/trace/setting")),
    post("/v2/logging", {}),
    post("/v2/logging", {"log_info": True, "log_verbose_level": 0}),
    post("/v2/logging", {"log_format": "default"}),
    post("/v2/trace/setting", {}),
    post("/v2/trace/setting", {"trace_level": ["OFF"], "trace_rate": "1000"}),
    post("/v2/trace/setting", {"trace_level": None}),
    *(get(f"/v2/{kind}sharedmemory/status") for kind in ("system", "cuda")),
    *(post(f"/v2/{kind}sharedmemory/unregister") for kind in ("system", "cuda")),
    *(post(f"/v2/{kind}sharedmemory/region/r/unregister") for kind in ("system", "cuda")),
    get("/v2/systemsharedmemory/region/r/status"),
    post("/v2/systemsharedmemory/region/r/register", {"byte_size": 8}),
    post("/v2/systemsharedmemory/region/r/register", {"key": "/k"}),
    infer(
        "echo",
        {"inputs": [x(parameters={"shared_memory_region": "r", "shared_memory_byte_size": 8}) | {"data": 1}]},
    ),
    *(
        post("/v2/repository/index", body)
        for body in (b"", {}, {"ready": True}, {"ready": False}, {"other": 1})
    ),
    post("/v2/repository/models/echo/load"),
    post("/v2/repository/models/echo/load", {"parameters": {}}),
]
CASES["fault"] = [
    *(asking(id=wrong) for wrong in (7, None, [])),
    *(infer("echo", body) for body in (b"null", b"[]", b"1", b"nonsense", b"{", b"{}")),
    *(infer("echo", {"inputs": wrong}) for wrong in (None, {}, 1)),
    *(
        echo(data=wrong)
        for wrong in ([1], [1, 2, 3], [], ["1", "2"], [True, False], [None, 1], 1, "12", None, {})
    ),
    *(echo(shape=wrong) for wrong in ([-1, 2], [1, 2.0], ["1", 2], 2, None, [2**64, 2])),
    *(echo(datatype=wrong) for wrong in (1, None)),
    *(echo(name=wrong) for wrong in (1, None)),
    *(asking(outputs=wrong) for wrong in (None, {}, [None], [{}])),
    *(asking(parameters=wrong) for wrong in ([], None, "x")),
    *(asking(parameters={name: wrong}) for name in ("priority", "timeout") for wrong in (-1, 1.5, "1")),
    asking(parameters={"binary_data_output": 1}),
    text('"data":[1,2,]'),
    text('"data":[01,2]'),
    text('"data":[1e999,1]'),
    infer("echo", json.dumps(GOOD).encode() + b"x"),
    *(raw(BYTES, size=wrong) for wrong in (-1, "8", 8.0)),
    *(raw(BYTES, length=wrong) for wrong in ("1", "1.5")),
    sums([1.5], [1]),
    strings([1, 2]),
    post("/v2/repository/index", {"ready": 1}),
    post("/v2/repository/index", b"nonsense"),
    post("/v2/repository/models/none/load"),
    post("/v2/repository/models/echo/load", b"nonsense"),
    post("/v2/logging", {"log_info": 1}),
    post("/v2/logging", {"log_verbose_level": -1}),
    post("/v2/logging", b"nonsense"),
    post("/v2/trace/setting", {"trace_rate": 1000}),
    post("/v2/trace/setting", b"nonsense"),
    post("/v2/systemsharedmemory/region/r/register", {"key": "/no-such-memory", "byte_size": 8}),
    post("/v2/systemsharedmemory/region/r/register", {"key": 1, "byte_size": 8}),
    post("/v2/systemsharedmemory/region/r/register", {"key": "/k", "byte_size": "8"}),
]
CASES["number"] = [echo(data=[1e39, 1]), echo(data=[-1e39, 1]), sums([2**31], [1]), sums([-(2**31) - 1], [0])]
CASES["no JSON"] = [
    infer("echo", b"\xef\xbb\xbf" + json.dumps(GOOD).encode()),
    text('"data":[NaN,1]'),
    text('"data":[-Infinity,1]'),
    infer("echo", json.dumps({"id": "?"} | GOOD).encode().replace(b"?", b"\xff")),
]
CASES["null"] = [raw(struct.pack("<2f", float("nan"), float("inf")))]
CASES["digits"] = [
    infer("fixed", {"inputs": [x(shape=[2, 2], datatype="FP64", data=[2.2431829630725634e88, 0, 0, 0])]})
]
CASES["nesting"] = [echo(data=[[1], [2]]), echo(data=[1, [2]]), echo(data=[[[1, 2]]])]
CASES["UTF-8"] = [strings(b"\1\0\0\0\xff\0\0\0\0")]
CASES["parameters"] = [echo(parameters=None), echo(parameters=[])]
CASES["twice"] = [
    text('"data":[1,2],"data":[3,4]'),
    infer("echo", json.dumps(GOOD)[:-1].encode() + b',"inputs":[]}'),
]
CASES["NUL"] = [asking(id="a\0b")]
CASES["all binary"] = [asking(parameters={"binary_data_output": True}, outputs=wanted("y"))]
CASES["FP16"] = [kinds()]
CASES["classes"] = [
    *(classes(wanted("scores", classification=count)) for count in (1, 3, 9, 2**40)),
    classes(wanted("same", classification=1, binary_data=True), rows=1),
]
CASES["rows"] = [rows([9, 2]), rows([0, 2])]
CASES["not there"] = [
    *(get(f"/v2/models/none/{what}") for what in ("ready", "stats", "trace/setting")),
    *(get(f"/v2/models/echo/versions/9/{what}") for what in ("ready", "stats")),
]
CASES["version 01"] = [get("/v2/models/echo/versions/01"), infer("echo", GOOD, "01")]
CASES["routes"] = [
    *(get(path) for path in ("/", "/v2/", "/v2/models/echo/", "/v2/models/ech%6f", "/metrics"))
]
CASES["HEAD"] = [Asked("HEAD", path) for path in ("/v2", "/v2/health/live", "/v2/models/echo")]
CASES["generate"] = [get("/v2/models/echo/generate")]
CASES["coding"] = [infer("echo", GOOD, Content_Encoding=coding) for coding in ("br", "nonsense")]
CASES["settings"] = [
    *(
        post("/v2/logging", change)
        for change in ({"nonsense": 1}, {"log_file": "/tmp/x"}, {"log_format": "x"})
    ),
    *(
        post("/v2/trace/setting", change)
        for change in ({"nonsense": 1}, {"trace_level": ["X"]}, {"trace_file": "x"})
    ),
]
CASES["nothing"] = [
    post("/v2/logging"),
    post("/v2/trace/setting"),
    post("/v2/trace/setting", {"trace_level": "OFF"}),
]
CASES["sequences"] = [asking(parameters={"sequence_start": 1})]
CASES["no object"] = [post("/v2/repository/index", b"[]"), post("/v2/logging", b"[]")]
CASES["CUDA"] = [get("/v2/cudasharedmemory/region/r/status")]
CASES["unload"] = [post("/v2/repository/models/none/unload")]


def test_every_difference_has_its_requests():
    assert set(CASES) == {"", *DIFFERENCES} - {"where"}  # which `test_state` has


@pytest.mark.parametrize(
    ("expected", "asked"), [(name, asked) for name, of in CASES.items() for asked in of], ids=str
)
def test_the_answers_say_the_same(both, expected, asked):
    assert difference(asked, *both.ask(asked)) == expected
