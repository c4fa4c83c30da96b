"""What a load is made of, and what is made of it."""

import json

import numpy as np
import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.bench.latencies import Latencies
from flowserve.core.bench.report import Asked, report, stages_between, text_of
from flowserve.core.bench.requests import Input, binary_body, from_rows, json_body, made_up, rows_of

X = Input("x", "FP32", [-1, 3])
NAME = Input("name", "BYTES", [-1])


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.999])
@pytest.mark.parametrize("unit_s", [1e-6, 1e-3, 1.0])
def test_quantiles_are_within_a_percent(share, unit_s):
    latencies = Latencies()
    for value in range(1, 10_001):
        latencies.add(value * unit_s)
    assert latencies.quantile(share) == pytest.approx(share * 1e4 * unit_s, rel=0.012)
    assert latencies.quantile(1.0) == latencies.longest_s == 1e4 * unit_s


def test_of_nothing_there_is_no_quantile():
    assert Latencies().quantile(0.5) is None


def test_made_up_requests_fit_every_datatype():
    kinds = ["BOOL", "INT8", "UINT64", "FP16", "BF16", "FP64", "BYTES"]
    feed = made_up([Input(kind, kind, [-1, 2, -1]) for kind in kinds], 3)
    assert rows_of(feed) == 3
    assert {tensor.array.shape for tensor in feed} == {(3, 2, 1)}
    assert json_body(feed) == json_body(made_up([Input(kind, kind, [-1, 2, -1]) for kind in kinds], 3))
    body, header_bytes = binary_body(feed)
    header = json.loads(body[:header_bytes])
    sizes = [tensor["parameters"]["binary_data_size"] for tensor in header["inputs"]]
    assert sum(sizes) == len(body) - header_bytes


def test_rows_are_cut_into_requests():
    text = json.dumps({"x": [[row, 0, 0] for row in range(5)], "name": list("abcde")}).encode()
    feeds = from_rows(text, [X, NAME], 2, "f")
    assert [feed[1].array.tolist() for feed in feeds] == [["a", "b"], ["c", "d"]]
    assert feeds[1][0].array.dtype == np.float32
    assert [feed[0].array[0, 0] for feed in from_rows(b"[[1,2,3],[4,5,6]]", [X], 1, "f")] == [1, 4]


@pytest.mark.parametrize(
    ("text", "rows", "reason"),
    [
        (b"[[1,2,3]", 1, "FS292.*not JSON"),
        (b"{}", 1, "FS292.*array of rows"),
        (b"[]", 1, "FS292.*rows for every input"),
        (b"[[1,2,3]]", 2, "FS292.*2 rows at least"),
        (b'[["a",2,3]]', 1, "FS206"),
    ],
)
def test_rows_that_do_not_fit(text, rows, reason):
    with pytest.raises(Refused, match=reason):
        from_rows(text, [X], rows, "f")


def statistics(count, ns):
    stages = {"count": count, "ns": ns}
    return [{"inference_stats": {"queue": stages, "compute_infer": stages}}, {"inference_stats": {}}]


def test_stages_are_of_what_was_asked_meanwhile():
    assert stages_between(statistics(10, 10_000), statistics(20, 40_000)) == {"queue": 3.0, "inference": 3.0}
    assert stages_between(statistics(10, 10_000), statistics(10, 10_000)) == {}


def test_a_report_for_people():
    latencies = Latencies()
    for _ in range(1000):
        latencies.add(0.002)
    asked = Asked("m", "HTTP in JSON", 8, 4, 100.0, 10.0)
    done = report(asked, 10.0, latencies, {"429": 3, "connection": 1}, 5, {"inference": 15.0})
    assert (done.per_s, done.rows_per_s) == (100.0, 400.0)
    text = text_of(done)
    assert "8 connections, 4 rows a request, 100 requests a second, 10.0 s" in text
    assert "failed     4   429: 3, connection: 1" in text
    assert "not sent   5" in text
    assert "p50 2.0 ms" in text
    assert "in server  inference 15 us" in text
    assert "latency" not in text_of(report(asked, 0.0, Latencies(), {}, 0, {}))
