"""HTTP content coding, bounded: a small body must not unpack into a huge one."""

from __future__ import annotations

import zlib

from flowc.plan.diagnostics import refuse

# "deflate" is the zlib format (RFC 9110, 8.4.1.2); 32 more lets zlib tell it from gzip by itself.
_EITHER_FORMAT = 32 + zlib.MAX_WBITS
_GZIP_FORMAT = 16 + zlib.MAX_WBITS
# Below this, a response is sent sooner as it is.
COMPRESSED_BYTES_MIN = 1024

REQUEST_CODINGS = frozenset({"", "identity", "gzip", "x-gzip", "deflate"})


def unpacked(body: bytes, coding: str, bytes_max: int) -> bytes:
    """Return a body without its coding, one of `REQUEST_CODINGS`.

    Raises `Refused` FS208 when it is longer than `bytes_max`, FS201 when it is damaged.
    """
    if coding in ("", "identity"):
        return body
    stream = zlib.decompressobj(_EITHER_FORMAT)
    try:
        plain = stream.decompress(body, bytes_max + 1)
    except zlib.error as error:
        refuse("FS201", f"the body must be of coding `{coding}`: {error}")
    if len(plain) > bytes_max:
        refuse("FS208", f"the unpacked body must be at most {bytes_max} bytes")
    if not stream.eof or stream.unused_data:
        refuse("FS201", f"the body must be one whole stream of coding `{coding}`")
    return plain


def chosen_coding(accepted: str) -> str:
    """Return `gzip`, `deflate` or "" for the value of an `Accept-Encoding` header."""
    codings = [part.replace(" ", "").lower().partition(";") for part in accepted.split(",")]
    allowed = {name for name, _, weight in codings if weight.rstrip("0") not in ("q=", "q=0.")}
    return "gzip" if "gzip" in allowed else "deflate" if "deflate" in allowed else ""


def packed(body: bytes, coding: str) -> bytes:
    """Return a body in a coding that `chosen_coding` gave, quickly rather than tightly."""
    stream = zlib.compressobj(1, zlib.DEFLATED, _GZIP_FORMAT if coding == "gzip" else zlib.MAX_WBITS)
    return stream.compress(body) + stream.flush()
