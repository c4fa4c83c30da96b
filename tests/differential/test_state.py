"""What requests change in a server is changed alike in a real Triton and in ours."""

import struct
from multiprocessing import shared_memory

import pytest
from running import until

from tests.differential.comparing import difference
from tests.differential.talking import ask, get, infer, post

pytestmark = pytest.mark.slow


def entry(address):
    """The model `fixed` in the repository's index."""
    index = ask(address, post("/v2/repository/index")).value
    return next(of for of in index if of["name"] == "fixed")


def test_a_model_is_unloaded_and_loaded(both):
    model = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP64", "data": [1, 2, 3, 4]}]}
    asked = [
        get("/v2/models/fixed"),
        get("/v2/models/fixed/config"),
        infer("fixed", model),
        get("/v2/health/ready"),
    ]
    sides = (both.triton.http, both.flowserve.http)
    try:
        assert [ask(side, post("/v2/repository/models/fixed/unload")).status for side in sides] == [200, 200]
        for side in sides:
            until(lambda: entry(side)["state"] == "UNAVAILABLE")  # noqa: B023 - called at once
        assert entry(sides[1]) == entry(sides[0])
        assert [difference(one, *both.ask(one)) for one in asked] == [""] * 4
        assert ask(sides[1], asked[0]).status == 404
        assert ask(sides[1], post("/v2/repository/models/fixed/unload")).status == 200  # a second time
    finally:
        assert [ask(side, post("/v2/repository/models/fixed/load")).status for side in sides] == [200, 200]
    assert entry(sides[1]) == entry(sides[0])
    assert [difference(one, *both.ask(one)) for one in asked] == [""] * 4
    assert ask(sides[1], asked[0]).status == 200


def tensor(name: str, offset: int, size: int = 8, **fields):
    where = {"shared_memory_region": "r", "shared_memory_offset": offset, "shared_memory_byte_size": size}
    return {"name": name, "parameters": where} | fields


def shared(given, taken):
    return infer("echo", {"inputs": [given | {"shape": [1, 2], "datatype": "FP32"}], "outputs": [taken]})


GIVEN, TAKEN = tensor("x", 0), tensor("y", 8)
BASE = "/v2/systemsharedmemory"
# What is asked of a region of 32 bytes, in this order, and whether the two differ.
STEPS = [
    ("", shared(GIVEN, TAKEN)),  # before it is registered
    ("", "register"),
    ("", get(f"{BASE}/status")),
    ("", get(f"{BASE}/region/r/status")),
    ("where", shared(GIVEN, TAKEN)),
    ("", shared(GIVEN, {"name": "y"})),
    ("where", shared(tensor("x", 16), tensor("y", 24))),
    ("where", shared(tensor("x", 4), TAKEN)),
    ("", shared(tensor("x", 30), TAKEN)),
    ("", shared(tensor("x", 0, 4), TAKEN)),
    ("", shared(GIVEN, tensor("y", 30))),
    ("fault", shared(GIVEN, tensor("y", 8, 4))),
    ("", "register"),
    ("", post(f"{BASE}/region/r/unregister")),
    ("", get(f"{BASE}/region/r/status")),
    ("", shared(GIVEN, TAKEN)),
]


def without_keys(said):
    """They are two, by nature."""
    if not isinstance(said.value, list):
        return said
    return said._replace(value=[region | {"key": ""} for region in said.value])


def test_shared_memory(both):
    memories = [shared_memory.SharedMemory(create=True, size=32) for _ in range(2)]
    try:
        for memory in memories:
            memory.buf[:] = struct.pack("<8f", *range(8))
        for expected, step in STEPS:
            asked = [step] * 2
            if step == "register":
                bodies = [{"key": f"/{m.name.lstrip('/')}", "offset": 0, "byte_size": 32} for m in memories]
                asked = [post(f"{BASE}/region/r/register", body) for body in bodies]
            theirs, ours = ask(both.triton.http, asked[0]), ask(both.flowserve.http, asked[1])
            theirs, ours = (without_keys(said) for said in (theirs, ours))
            assert difference(asked[1], theirs, ours) == expected, (asked[1], theirs, ours)
            assert bytes(memories[0].buf[:32]) == bytes(memories[1].buf[:32])
    finally:
        for side in (both.triton.http, both.flowserve.http):
            ask(side, post(f"{BASE}/unregister"))
        for memory in memories:
            memory.close()
            memory.unlink()
