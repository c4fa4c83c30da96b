"""Requests for inference that are made up: good ones, and ones with something changed in them.

More of them, and others each time: `pytest -m slow --hypothesis-profile=search tests/differential`.
"""

import json
import math
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from flowserve.core.datatypes import DATATYPES
from tests.differential.comparing import DEAD, difference
from tests.differential.talking import binary, infer
from tests.differential.twins import TWINS

pytestmark = pytest.mark.slow

THOROUGH = settings(
    max_examples=max(400, settings().max_examples),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
MODELS = {twin.name: twin for twin in TWINS if twin.name not in ("fixed", "rows")}
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=6)


def elements(kind: str) -> st.SearchStrategy:
    """What a datatype can hold."""
    match np.dtype(DATATYPES[kind].numpy).kind:
        case "b":
            return st.booleans()
        case "O":
            return TEXT
        case "f":
            width = 8 * DATATYPES[kind].size
            return st.floats(width=width, allow_nan=False, allow_infinity=False)
        case _:
            bounds = np.iinfo(DATATYPES[kind].numpy)
            return st.integers(int(bounds.min), int(bounds.max))


def packed(kind: str, values: list) -> bytes:
    if kind != "BYTES":
        return np.array(values, DATATYPES[kind].numpy).tobytes()
    return b"".join(struct.pack("<I", len(text.encode())) + text.encode() for text in values)


def nested(values: list, shape: list[int]) -> list:
    if len(shape) < 2 or not values:
        return values
    step = math.prod(shape[1:])
    return [nested(values[i * step : (i + 1) * step], shape[1:]) for i in range(shape[0])]


# As `Parameters` of the protocol, of names that mean nothing.
PARAMETERS = st.dictionaries(
    st.sampled_from(["a", "b"]), st.booleans() | st.integers(0, 9) | TEXT, max_size=2
)


@st.composite
def requests(draw):
    """A model's name, the JSON of a good request for it, and the raw tensors that follow."""
    twin = MODELS[draw(st.sampled_from(sorted(MODELS)))]
    rows, tensors, tail = draw(st.integers(0, 3)), [], b""
    for name, kind, shape in draw(st.permutations(twin.inputs)):
        sizes = [rows, *(draw(st.integers(0, 3)) if size < 0 else size for size in shape[1:])]
        values = draw(st.lists(elements(kind), min_size=math.prod(sizes), max_size=math.prod(sizes)))
        tensor = {"name": name, "shape": sizes, "datatype": kind}
        # `test_http` has what Triton does not do with these in JSON.
        if kind in ("FP16", "FP64") or draw(st.booleans()):
            data = packed(kind, values)
            tensor["parameters"] = {"binary_data_size": len(data)}
            tail += data
        else:
            tensor["data"] = nested(values, sizes) if draw(st.booleans()) else values
        tensors.append(tensor)
    asked = {"inputs": tensors}
    names = draw(st.lists(st.sampled_from([name for name, _, _ in twin.outputs]), unique=True))
    raw = st.fixed_dictionaries({}, optional={"binary_data": st.booleans()})
    in_half = twin.name == "kinds"
    if names and not in_half:
        asked["outputs"] = [{"name": name, "parameters": draw(raw)} for name in names]
    if draw(st.booleans()):
        asked["id"] = draw(TEXT)
    parameters = draw(PARAMETERS)
    if "outputs" not in asked and (in_half or draw(st.booleans())):
        parameters["binary_data_output"] = True
    if parameters:
        asked["parameters"] = parameters
    return twin.name, asked, tail


SCALARS = st.none() | st.booleans() | st.integers(-3, 4) | st.just(0.5) | TEXT
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXT, SCALARS, max_size=2)


@st.composite
def changed(draw):
    """A request of which some place of the JSON is another value, or is gone."""
    model, asked, tail = draw(requests())
    for _ in range(draw(st.integers(1, 2))):
        at = asked
        while True:
            key = draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
            inner = at[key]
            if not isinstance(inner, dict | list) or not inner or draw(st.integers(0, 2)) == 0:
                break
            at = inner
        if draw(st.booleans()):
            at[key] = draw(VALUES)
        else:
            del at[key]
        if not asked:
            break
    return model, asked, tail


def held(both, model, asked, tail):
    request = binary(model, asked, tail) if tail else infer(model, asked)
    found = difference(request, *both.ask(request))
    event(found[:20] or "the same")
    return found, request


@THOROUGH
@given(requests())
def test_good_requests(both, request_):
    found, asked = held(both, *request_)
    assert found in ("", "null", DEAD), f"{asked}\n{found}"


@THOROUGH
@given(changed())
def test_changed_requests(both, request_):
    found, asked = held(both, *request_)
    assert not found.startswith("?"), f"{asked}\n{found}"


@THOROUGH
@given(requests(), st.integers(0, 400), st.binary(max_size=3), st.integers(0, 3))
def test_bytes_of_a_request_changed(both, request_, place, change, gone):
    model, asked, tail = request_
    text = json.dumps(asked).encode()
    place %= len(text)
    body = text[:place] + change + text[place + gone :]
    request = (
        infer(model, body + tail, Inference_Header_Content_Length=str(len(body)))
        if tail
        else infer(model, body)
    )
    found = difference(request, *both.ask(request))
    event(found[:20] or "the same")
    assert not found.startswith("?"), f"{request}\n{found}"
