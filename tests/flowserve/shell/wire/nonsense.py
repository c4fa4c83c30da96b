"""What nobody would send in earnest: HTTP/1.1 and HTTP/2, and how to read what is answered to it."""

import json
import struct
from itertools import pairwise

from hypothesis import strategies as st

from flowserve.core.wire.http2.frames import DATA, END_HEADERS, END_STREAM, HEADERS, frame
from flowserve.core.wire.http2.rpc import literal
from tests.flowserve.shell.wire.http2_peer import INFER, LIVE, STREAM, framed, request

# HTTP/1.1

GOOD = {"inputs": [{"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}]}
SMUGGLED = b"GET /v2/models/none HTTP/1.1\r\n\r\n"


def answers(written: bytes) -> list[tuple[int, bytes]]:
    """Read answers until the end; fails where something is left over."""
    found = []
    while written:
        head, split, rest = written.partition(b"\r\n\r\n")
        assert split
        status = int(head.split(b" ", 2)[1])
        assert status != 500
        size = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        assert len(rest) >= size
        if status >= 400:
            assert json.loads(rest[:size])["error"]
        if status != 100:
            found.append((status, rest[:size]))
        written = rest[size:]
    return found


def post(body: bytes, path: str = "/v2/models/m/infer", headers: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\nContent-Length: %d\r\n%b\r\n%b" % (path.encode(), len(body), headers, body)


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    return [data[start:end] for start, end in pairwise(places)] or [data]


places = st.lists(st.integers(0, 10_000), max_size=6)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
sizes = st.one_of(
    st.integers(-3, 3), st.sampled_from([2**31, 2**62, 2**63, -(2**63), 2**64, 10**30]), json_values
)


# Heads that two readers could give different lengths.
SMUGGLING = [
    b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
    b"Content-Length: 5\r\nContent-Length: 6\r\n",
    b"Content-Length: 5, 6\r\n",
    b"Content-Length: +5\r\n",
    b"Content-Length: -1\r\n",
    b"Content-Length: 0x5\r\n",
    b"Content-Length : 5\r\n",
    b"Content-Length: 5\r\n Content-Length: 6\r\n",
    b"Content-Length: 99999999999999999999999\r\n",
    b"Transfer-Encoding: chunked, identity\r\n",
    b"Transfer-Encoding: xchunked\r\n",
    b"Transfer-Encoding: identity\r\n",
    b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
    b"Transfer-Encoding\x00: chunked\r\n",
    b"Transfer-Encoding:\x0bchunked\r\n",
    b"X: a\rContent-Length: 5\r\n",
    b"X: a\nContent-Length: 5\r\n",
    b"X: \x00\r\n",
    b": 5\r\n",
]

# HTTP/2


def frames_of(written: bytes) -> list[tuple[int, int, int]]:
    """Every frame's kind, flags and stream; there is nothing between them."""
    frames, at = [], 0
    while at < len(written):
        high, low, kind, flags, number = struct.unpack_from(">HBBBL", written, at)
        at += 9 + (high << 8 | low)
        frames.append((kind, flags, number))
    assert at == len(written)
    return frames


def head(path: str) -> bytes:
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": path.encode(),
        b"content-type": b"application/grpc",
    }
    return b"".join(literal(*field) for field in fields.items())


BLOCKS = st.sampled_from([head(INFER), head(STREAM), head(LIVE), b"", literal(b"a", b"b"), b"\xbe", b"\x3f"])
PAYLOADS = st.one_of(
    st.binary(max_size=20),
    BLOCKS,
    st.sampled_from(
        [framed(request()), framed(request())[:9], framed(request())[9:], framed(b""), bytes(8), bytes(4)]
    ),
    st.sampled_from([struct.pack(">HL", 4, 5), struct.pack(">HL", 4, 2**31 - 1), b"\x7f\xff\xff\xff"]),
)
FRAMES = st.builds(
    frame,
    st.integers(0, 10),
    st.sampled_from([0, 1, 4, 5, 8, 0x20, 0x2D]),
    st.sampled_from([0, 1, 1, 2, 3, 5, 7]),
    PAYLOADS,
)
CALLS = st.builds(
    lambda number, block, payload: (
        frame(HEADERS, END_HEADERS, number, block) + frame(DATA, END_STREAM, number, payload)
    ),
    st.sampled_from([1, 3, 5, 7, 9]),
    BLOCKS,
    PAYLOADS,
)
