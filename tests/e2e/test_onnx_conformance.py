"""The onnx package's own cases, served by a real process: what matches in process matches over the wire."""

import pytest

pytest.importorskip("onnx.backend.test")
pytest.importorskip("tritonclient.http")
pytest.importorskip("tritonclient.grpc")

# Some of each: strings, booleans, half precision, bfloat16, no dimensions, no elements, several outputs.
SOME = (
    r"string|test_and|test_cast_|range_bfloat16|squeeze|reduce_max_empty|test_split|test_nonzero|test_PReLU"
)


@pytest.mark.parametrize("only", [SOME, pytest.param("", marks=pytest.mark.slow, id="all")])
def test_cases_match_over_every_wire(only):
    from benchmarks.onnx_conformance import measure

    figures = measure(only, show_failures=20)
    assert figures["cases"] >= (1400 if not only else 50)
    for name, wire in figures["wires"].items():
        assert wire["differ"] == 0, name
        assert wire["matched"] + wire["cannot_say"] == figures["cases"]
    assert (
        sum(wire["cannot_say"] for wire in figures["wires"].values())
        == figures["wires"]["http json"]["cannot_say"]
    )
