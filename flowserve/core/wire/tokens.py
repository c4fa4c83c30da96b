"""Bearer tokens (RFC 6750): who may ask."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from hmac import compare_digest

from flowc.plan.diagnostics import Diagnostic, Refused

TOKEN_LENGTH_MIN = 16

REFUSED = Refused(
    Diagnostic("FS252", "the request must have a valid token, as `Authorization: Bearer TOKEN`")
)
"""The answer to all others. It says nothing of what came."""

# What a probe may ask without a token: it tells nobody anything but that a server is there.
OPEN_PATHS = (b"/v2/health/live", b"/v2/health/ready")
OPEN_METHODS = frozenset({"ServerLive", "ServerReady"})


class Tokens:
    """The tokens that are accepted. Holds their hashes only, and shows their number only."""

    def __init__(self, tokens: Iterable[str], digests: Iterable[bytes] = ()) -> None:
        """`digests` are of further tokens, as another process hands them on."""
        self.digests = [*digests, *(sha256(token.encode()).digest() for token in tokens)]

    def __repr__(self) -> str:
        return f"Tokens({len(self.digests)})"

    def admit(self, authorization: bytes) -> bool:
        """Whether the value of an `Authorization` header has one of them.

        Takes as long for a wrong one as for a right one, whichever of them it is: hashes of one length are
        compared, each with all of them.
        """
        scheme, _, token = authorization.partition(b" ")
        digest = sha256(token.strip()).digest()
        found = False
        for known in self.digests:
            found |= compare_digest(known, digest)
        return found and scheme.lower() == b"bearer"


def parse_tokens(text: str) -> tuple[list[str], list[int]]:
    """Read a token a line; empty lines and those that begin with `#` say nothing.

    Returns the tokens, and the numbers of the lines that have none: with a space within it, something beyond
    ASCII, or fewer than 16 characters.
    """
    tokens: list[str] = []
    wrong: list[int] = []
    for number, line in enumerate(text.splitlines(), 1):
        token = line.strip()
        if not token or token.startswith("#"):
            continue
        if len(token) < TOKEN_LENGTH_MIN or not token.isascii() or not token.isprintable() or " " in token:
            wrong.append(number)
        else:
            tokens.append(token)
    return tokens, wrong
