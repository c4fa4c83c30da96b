"""Who is let in, and what is never shown."""

import pytest

from flowserve.core.wire.tokens import REFUSED, Tokens, parse_tokens

GOOD, OTHER = "a-token-of-team-a", "a-token-of-team-b"


@pytest.mark.parametrize(
    ("header", "admitted"),
    [
        (f"Bearer {GOOD}", True),
        (f"bearer  {OTHER} ", True),
        (f"Bearer {GOOD}x", False),
        (f"Bearer {GOOD[:-1]}", False),
        (f"Basic {GOOD}", False),
        (GOOD, False),
        ("Bearer", False),
        ("Bearer ", False),
        ("", False),
        ("Bearer ä", False),
    ],
)
def test_who_is_admitted(header, admitted):
    assert Tokens([GOOD, OTHER]).admit(header.encode()) is admitted


def test_without_any_nobody_is():
    assert not Tokens([]).admit(b"Bearer ")


def test_nothing_shows_a_token():
    tokens = Tokens([GOOD])
    assert repr(tokens) == "Tokens(1)"
    assert GOOD not in repr(vars(tokens)) + str(REFUSED)


def test_lines():
    text = f"# ours\n\n  {GOOD}  \r\n{OTHER}\nshort\na token with spaces in it\nümlaut-ümlaut-ümlaut\n"
    assert parse_tokens(text) == ([GOOD, OTHER], [5, 6, 7])
