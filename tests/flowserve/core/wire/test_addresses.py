"""What an address may look like."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.wire.addresses import Tcp, Unix, parse_address


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("127.0.0.1:8000", Tcp("127.0.0.1", 8000), "127.0.0.1:8000"),
        ("localhost:0", Tcp("localhost", 0), "localhost:0"),
        ("[::1]:80", Tcp("::1", 80), "[::1]:80"),
        ("unix:/run/x", Unix("/run/x"), "unix:/run/x"),
        ("unix:///run/x", Unix("/run/x"), "unix:/run/x"),
        ("unix:x.sock", Unix("x.sock"), "unix:x.sock"),
    ],
)
def test_addresses(text, address, written):
    assert parse_address(text, "FS104") == address
    assert str(address) == written


@pytest.mark.parametrize(
    "text", ["8000", ":8000", "host:", "host:-1", "host:65536", "host:９", "unix:", f"unix:/{'x' * 107}"]
)
def test_what_is_none(text):
    with pytest.raises(Refused, match=r"\[FS301\]"):
        parse_address(text, "FS301")
