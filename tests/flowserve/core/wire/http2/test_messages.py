"""gRPC's messages, as they come in pieces."""

import gzip

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.http2.messages import Messages, prefix, unpacked_message

MESSAGES = st.lists(st.tuples(st.binary(max_size=50), st.booleans()), max_size=8)


@settings(max_examples=100, deadline=None)
@given(MESSAGES, st.lists(st.integers(1, 40), max_size=30))
def test_messages_in_any_pieces(sent, sizes):
    data = b"".join(prefix(len(message), compressed) + message for message, compressed in sent)
    messages, came = Messages(50), []
    for size in [*sizes, len(data) + 1]:
        messages.feed(data[:size])
        data = data[size:]
        while (message := messages.next()) is not None:
            came.append(tuple(message))
    assert came == sent
    assert messages.empty


def test_a_message_beyond_the_limit_is_refused_before_it_is_here():
    messages = Messages(100)
    with pytest.raises(Refused, match=r"must be at most 100 bytes, got 101") as caught:
        messages.feed(prefix(101))
    assert caught.value.diagnostics[0].code == "FS208"
    with pytest.raises(Refused, match="a byte of 0 or 1, got 2"):
        Messages(100).feed(b"\x02\0\0\0\0")


def test_how_much_is_missing():
    messages = Messages(1000)
    messages.feed(prefix(500)[:3])
    assert messages.missing == 0
    messages.feed(prefix(500)[3:] + b"x" * 100)
    assert (messages.missing, messages.length) == (400, 505)


def test_compressed_messages_are_bounded():
    packed = gzip.compress(b"x" * 1000)
    assert unpacked_message(packed, "gzip", 1000) == b"x" * 1000
    with pytest.raises(Refused, match="at most 999 bytes"):
        unpacked_message(packed, "gzip", 999)
    with pytest.raises(Refused, match="`grpc-encoding` does not say how"):
        unpacked_message(packed, "identity", 1000)
