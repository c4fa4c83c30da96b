"""Header blocks: the RFC's own examples, the `hpack` package's encoder as an oracle, and what is no block."""

import hpack
import pytest
from hpack.table import HeaderTable
from hypothesis import given, settings
from hypothesis import strategies as st

from flowserve.core.wire.http2 import huffman
from flowserve.core.wire.http2.hpack import _STATIC, Decoder, HpackError


def decoder(list_bytes_max: int = 2**16) -> Decoder:
    return Decoder(list_bytes_max, lambda fields: fields)


def test_the_examples_of_the_rfc():  # C.4: one connection
    decode = decoder().decode
    request = (
        (b":method", b"GET"),
        (b":scheme", b"http"),
        (b":path", b"/"),
        (b":authority", b"www.example.com"),
    )
    assert decode(bytes.fromhex("828684418cf1e3c2e5f23a6ba0ab90f4ff")) == request
    assert decode(bytes.fromhex("828684be5886a8eb10649cbf")) == (*request, (b"cache-control", b"no-cache"))
    third = decode(bytes.fromhex("828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"))
    assert third[1:3] == ((b":scheme", b"https"), (b":path", b"/index.html"))
    assert third[3:] == ((b":authority", b"www.example.com"), (b"custom-key", b"custom-value"))


def test_the_static_table():
    assert _STATIC[1:] == HeaderTable.STATIC_TABLE


FIELDS = st.lists(st.tuples(st.binary(max_size=40), st.binary(max_size=300)), max_size=8)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(FIELDS, st.sampled_from([None, 0, 64, 500, 4096]), st.booleans()), max_size=8))
def test_it_reads_what_the_oracle_writes(blocks):
    encoder, ours = hpack.Encoder(), decoder()
    for fields, table_bytes, coded in blocks:
        if table_bytes is not None:
            encoder.header_table_size = table_bytes
        for _ in range(3):  # again: as indices, and from the memo
            assert ours.decode(encoder.encode(fields, huffman=coded)) == tuple(fields)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.binary(max_size=60), max_size=4))
def test_any_bytes_are_a_block_or_refused(blocks):
    ours, theirs = decoder(), hpack.Decoder(max_header_list_size=2**16)
    for block in blocks:
        try:
            fields = ours.decode(block)
        except HpackError:
            break
        assert list(fields) == [(bytes(n), bytes(v)) for n, v in theirs.decode(block, raw=True)]


def test_a_block_means_the_same_only_as_long_as_the_table_does():
    ours = decoder()
    ours.decode(b"\x40\x01a\x011")
    for _ in range(2):
        assert ours.decode(b"\xbe") == ((b"a", b"1"),)
    ours.decode(b"\x40\x01b\x012")
    for _ in range(2):
        assert ours.decode(b"\xbe\xbf") == ((b"b", b"2"), (b"a", b"1"))
    ours.decode(b"\x20")  # an empty table
    with pytest.raises(HpackError):
        ours.decode(b"\xbe\xbf")


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xbe",  # of an empty table
        b"\xff\xff\xff\xff\xff\x0f",  # a number beyond all
        b"\xff\x80\x80\x80\x80\x80\x80",  # one that never ends
        b"\xff",  # one that is cut
        b"\x40\x05ab",  # a text that is cut
        b"\x3f\xe2\x1f",  # a table of 4097 bytes
        b"\x82\x20",  # a new size after a field
        b"\x00\x81\xff\x00",  # a code of nothing but padding, eight bits of it
        b"\x00\x84\xff\xff\xff\xff\x00",  # the end of string
        b"\x00\x81\x18\x00",  # padding of zeros
    ],
)
def test_what_is_no_block(block):
    with pytest.raises(HpackError):
        decoder().decode(block)


def test_a_list_beyond_the_limit_is_read_but_not_kept():
    ours = decoder(list_bytes_max=1000)
    bomb = b"\x40\x01a\x7f\x81\x06" + b"x" * 896  # one field of 897 bytes ...
    assert ours.decode(bomb)[0][1] == b"x" * 896
    assert ours.decode(b"\xbe" * 10_000) is None  # ... ten thousand times
    assert ours.decode(b"\xbe") == ((b"a", b"x" * 896),)  # and the table is as it was


def test_the_code_of_every_byte():
    everything = bytes(range(256))
    coded = hpack.huffman.HuffmanEncoder(
        hpack.huffman_constants.REQUEST_CODES, hpack.huffman_constants.REQUEST_CODES_LENGTH
    ).encode(everything)
    assert huffman.decode(coded) == everything
    assert huffman.decode(b"") == b""
