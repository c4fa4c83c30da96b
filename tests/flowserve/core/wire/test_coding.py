"""Compressed bodies are unpacked within bounds."""

import gzip
import zlib

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.coding import chosen_coding, packed, unpacked


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_there_and_back(coding):
    assert unpacked(packed(b"abc" * 999, coding), coding, 2997) == b"abc" * 999


def test_formats_are_those_of_the_standard():
    assert gzip.decompress(packed(b"abc", "gzip")) == b"abc"
    assert zlib.decompress(packed(b"abc", "deflate")) == b"abc"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (gzip.compress(bytes(101), mtime=0), "FS208"),
        (gzip.compress(bytes(10**7), mtime=0), "FS208"),
        (gzip.compress(b"abc", mtime=0)[:-1], "FS201"),
        (gzip.compress(b"abc", mtime=0) + b"x", "FS201"),
        (b"abc", "FS201"),
        (b"", "FS201"),
    ],
)
def test_too_long_or_damaged(body, code):
    with pytest.raises(Refused, match=code):
        unpacked(body, "gzip", 100)


@pytest.mark.parametrize(
    ("accepted", "coding"),
    [
        ("gzip", "gzip"),
        ("deflate, GZIP;q=0.5", "gzip"),
        ("gzip;q=0, deflate", "deflate"),
        ("gzip; q=0.000", ""),
        ("identity, br", ""),
        ("", ""),
    ],
)
def test_what_a_client_accepts(accepted, coding):
    assert chosen_coding(accepted) == coding
