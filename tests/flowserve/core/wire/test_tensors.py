"""JSON and raw bytes to arrays and back, and what is said of data that does not fit."""

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flowc.plan.diagnostics import Refused
from flowserve.core.datatypes import DATATYPES
from flowserve.core.wire.tensors import bits_of, floats_of, from_binary, from_json, to_binary, to_json

NUMBERS = [name for name in DATATYPES if name not in ("BYTES", "BOOL", "BF16")]


def read(data: bytes, datatype: str, shape: list[int]):
    return from_json(data, DATATYPES[datatype], shape, "inputs[0].data")


def refusal(data: bytes, datatype: str, shape: list[int]) -> str:
    with pytest.raises(Refused) as caught:
        read(data, datatype, shape)
    return str(caught.value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("data", [b"[[1, 2], [3, 4]]", b" [ 1,2,\n3,4]", b"[[1,2],[3,4]] "])
def test_numbers_flat_or_nested(name, data):
    array = read(data, name, [2, 2])
    assert array.dtype == np.dtype(DATATYPES[name].numpy)
    assert array.tolist() == [[1, 2], [3, 4]]


def test_booleans_and_strings():
    assert read(b"[true, false]", "BOOL", [2]).tolist() == [True, False]
    assert read('[["a"], ["é"]]'.encode(), "BYTES", [2, 1]).tolist() == [["a"], ["é"]]


def test_shapes_without_elements_and_without_dimensions():
    assert read(b"[]", "FP32", [0, 4]).shape == (0, 4)
    assert read(b"[[], []]", "FP32", [2, 0]).shape == (2, 0)
    assert read(b"[5]", "INT64", []).tolist() == 5


@pytest.mark.parametrize(
    ("data", "datatype", "shape", "message"),
    [
        (b"[300]", "UINT8", [1], "`inputs[0].data[0]` must be a whole number from 0 to 255 (UINT8), got 300"),
        (b"[-1]", "UINT64", [1], "from 0 to 18446744073709551615 (UINT64), got -1"),
        (b"[[1], [1.5]]", "INT64", [2, 1], "`inputs[0].data[1][0]` must be a whole number from"),
        (b"[1e39]", "FP32", [1], "`inputs[0].data[0]` must be a number within FP32 (at most 3.40282e+38)"),
        (b"[70000]", "FP16", [1], "must be a number within FP16 (at most 65504), got 70000"),
        (b"[1, 1e400]", "FP64", [2], "`inputs[0].data[1]` cannot be read: Number out of range"),
        (b"[true]", "INT64", [1], "got true"),
        (b"[1]", "BOOL", [1], "must be true or false, got 1"),
        (b"[1]", "BYTES", [1], "must be a string, got 1"),
        (b'["1"]', "FP32", [1], 'got "1"'),
        (b"[null]", "FP32", [1], "got null"),
        (b"[{}]", "FP32", [1], "got an object"),
        (b"[1, 2, 3]", "FP32", [1, 4], "`inputs[0].data` must be an array of 4, got an array of 3"),
        (b"[[1, 2], [3]]", "FP32", [2, 2], "`inputs[0].data[1]` must be an array of 2, got an array of 1"),
        (b"[[1, 2], 3]", "FP32", [2, 2], "`inputs[0].data[1]` must be an array of 2, got 3"),
        (b"[[[1, 2]]]", "FP32", [1, 2], "`inputs[0].data[0]` must be an array of 2, got an array of 1"),
        (b'[["a"], ["b", "c"]]', "BYTES", [2, 1], "`inputs[0].data[1]` must be an array of 1"),
        (b"5", "FP32", [], "`inputs[0].data` must be an array of 1, got 5"),
        (b"null", "FP32", [1], "`inputs[0].data` must be an array of 1, got null"),
        (b"[1" + b"0" * 5000 + b"]", "INT64", [1], "cannot be read: Integer value out of range"),
        (b"[1" + b"0" * 300 + b"]", "INT64", [1], "got an integer of more than 38 digits"),
        (b'["\xff"]', "BYTES", [1], "cannot be read"),
        (b"[" * 100_000, "FP32", [1], "cannot be read"),
    ],
)
def test_json_that_does_not_fit(data, datatype, shape, message):
    text = refusal(data, datatype, shape)
    assert text.startswith("[FS206] `inputs[0].data")
    assert message in text


@pytest.mark.parametrize("name", [name for name in DATATYPES if name != "BF16"])
def test_what_is_written_is_read_back(name):
    datatype = DATATYPES[name]

    @settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
    @given(st.data())
    def check(data):
        shape = data.draw(npst.array_shapes(max_dims=3, max_side=3, min_side=0))
        texts = st.text(st.characters(codec="utf-8"))
        finite = {"allow_nan": False, "allow_infinity": False} if datatype.name.startswith("FP") else {}
        elements = texts if name == "BYTES" else npst.from_dtype(np.dtype(datatype.numpy), **finite)
        array = data.draw(npst.arrays(datatype.numpy, shape, elements=elements, fill=st.nothing()))
        back = from_binary(to_binary(array, datatype), datatype, shape, "x")
        np.testing.assert_array_equal(back, array)
        back = from_json(msgspec.json.encode(to_json(array)), datatype, shape, "x")
        np.testing.assert_array_equal(back, array)

    check()


def test_binary_must_have_the_exact_size():
    with pytest.raises(Refused, match=r"`x` must have 16 bytes \(4 of FP32\), got 12"):
        from_binary(bytes(12), DATATYPES["FP32"], [1, 4], "x")


def test_unaligned_binary_is_copied():
    whole = b"_" + np.arange(4, dtype="<f8").tobytes()
    array = from_binary(memoryview(whole)[1:], DATATYPES["FP64"], [4], "x")
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


def test_any_byte_but_zero_is_true():
    assert from_binary(b"\x00\x01\x02", DATATYPES["BOOL"], [3], "x").tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"\x01\x00\x00\x00a", "must have 2 elements of BYTES, got 5 bytes in all"),
        (b"\x01\x00\x00\x00a\x02\x00\x00\x00b", "ends within element 1"),
        (b"\x01\x00\x00\x00a\xff\xff\xff\xffb", "ends within element 1"),
        (b"\x00\x00\x00\x00" * 3, "got 4 bytes more"),
        (b"\x01\x00\x00\x00\xff\x00\x00\x00\x00", "element 0 is not"),
    ],
)
def test_strings_that_are_cut_or_not_text(data, message):
    with pytest.raises(Refused, match=message):
        from_binary(data, DATATYPES["BYTES"], [2], "x")


def test_a_huge_count_allocates_nothing():
    with pytest.raises(Refused, match="FS206"):
        from_binary(b"", DATATYPES["BYTES"], [2**40], "x")


def test_bfloat16_is_its_bits():
    bf16 = DATATYPES["BF16"]
    array = read(b"[1, -2.5, 3.1415926, 1e-40]", "BF16", [4])
    assert array.dtype == np.uint16
    assert to_json(array, bf16) == pytest.approx([1, -2.5, 3.140625, 1e-40], rel=1e-5, abs=1e-41)
    assert from_binary(to_binary(array, bf16), bf16, [4], "x").tolist() == array.tolist()
    assert "at most 3.38953e+38), got 3.4e+38" in refusal(b"[3.4e38]", "BF16", [1])


@given(npst.arrays(np.float32, 8, elements=st.floats(-(2.0**120), 2.0**120, width=32)))
def test_floats_become_the_nearest_bfloat16(floats):
    import ml_dtypes

    assert bits_of(floats).tolist() == floats.astype(ml_dtypes.bfloat16).view(np.uint16).tolist()
    assert (
        floats_of(bits_of(floats)).tolist() == floats.astype(ml_dtypes.bfloat16).astype(np.float32).tolist()
    )
