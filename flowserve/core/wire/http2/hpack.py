"""HPACK (RFC 7541), the decoding side: header blocks to header lists.

This server writes its own header blocks with nothing but literals and the static table, so it needs no
encoder. What a block can cost is bounded by its length: a list that is too long is read to its end, since the
table has to stay right, but not kept.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Generic, TypeVar

from flowserve.core.wire.http2 import huffman

Field = tuple[bytes, bytes]
Meaning = TypeVar("Meaning")

TABLE_BYTES_MAX = 4096
"""Of the dynamic table: what both sides begin with."""
_OVERHEAD = 32  # what an entry counts beyond its bytes, in a table and in a list
_NUMBER_MAX = 2**28
_MEMO_MAX = 32
_MEMO_BYTES_MAX = 1024


class HpackError(Exception):
    """A block that is not HPACK. The table is unknown from then on, so the connection must end."""


class Decoder(Generic[Meaning]):
    """The decoding side of one connection. Blocks must be given in the order in which they came."""

    def __init__(self, list_bytes_max: int, read: Callable[[tuple[Field, ...] | None], Meaning]) -> None:
        """`read` says what a header list means; None is one that is longer than `list_bytes_max`."""
        self._list_bytes_max = list_bytes_max
        self._read = read
        self._table: deque[Field] = deque()  # the newest first
        self._table_bytes = 0
        self._table_bytes_max = TABLE_BYTES_MAX
        # Calls of one kind send the same block again and again, all of it indices once the table has its
        # fields. It means the same as long as the table does; what changes the table is not kept.
        self._memo: dict[bytes, Meaning] = {}
        self._changed = False

    def decode(self, block: bytes) -> Meaning:
        """Return what a block's header list means. Raises `HpackError`."""
        try:
            return self._memo[block]
        except KeyError:
            pass
        self._changed = False
        meaning = self._read(self._fields(block))
        if self._changed:
            self._memo.clear()
        elif len(block) <= _MEMO_BYTES_MAX:
            if len(self._memo) >= _MEMO_MAX:
                self._memo.clear()
            self._memo[block] = meaning
        return meaning

    def _fields(self, block: bytes) -> tuple[Field, ...] | None:
        fields: list[Field] = []
        size, begun = 0, False
        at, end = 0, len(block)
        while at < end:
            first = block[at]
            if first & 0x80:
                index, at = _number(block, at, 0x7F)
                field = self._field(index)
            elif first & 0x40:
                field, at = self._literal(block, at, 0x3F)
                self._insert(field)
            elif first & 0x20:
                if begun:
                    raise HpackError("the table's size may only change before the first field")
                at = self._resize(block, at)
                continue
            else:  # without indexing, or never to be indexed by anybody
                field, at = self._literal(block, at, 0x0F)
            begun = True
            size += len(field[0]) + len(field[1]) + _OVERHEAD
            if size <= self._list_bytes_max:
                fields.append(field)
        return tuple(fields) if size <= self._list_bytes_max else None

    def _field(self, index: int) -> Field:
        if 0 < index < len(_STATIC):
            return _STATIC[index]
        try:
            if index:
                return self._table[index - len(_STATIC)]
        except IndexError:
            pass
        raise HpackError(f"the table has no field {index}")

    def _literal(self, block: bytes, at: int, mask: int) -> tuple[Field, int]:
        index, at = _number(block, at, mask)
        if index:
            name = self._field(index)[0]
        else:
            name, at = _text(block, at)
        value, at = _text(block, at)
        return (name, value), at

    def _insert(self, field: Field) -> None:
        self._changed = True
        self._table.appendleft(field)
        self._table_bytes += len(field[0]) + len(field[1]) + _OVERHEAD
        self._evict()

    def _resize(self, block: bytes, at: int) -> int:
        size, at = _number(block, at, 0x1F)
        if size > TABLE_BYTES_MAX:
            raise HpackError(f"the table may have at most {TABLE_BYTES_MAX} bytes")
        self._changed = True
        self._table_bytes_max = size
        self._evict()
        return at

    def _evict(self) -> None:
        """Drop the oldest. A field that is larger than the table leaves it empty, and is no error."""
        while self._table_bytes > self._table_bytes_max:
            name, value = self._table.pop()
            self._table_bytes -= len(name) + len(value) + _OVERHEAD


def _number(block: bytes, at: int, mask: int) -> tuple[int, int]:
    """A number whose first bits are those of a byte's `mask`, and where it ends."""
    try:
        number = block[at] & mask
        at += 1
        if number < mask:
            return number, at
        shift = 0
        while number < _NUMBER_MAX and shift < 28:
            byte = block[at]
            at += 1
            number += (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return number, at
    except IndexError:
        raise HpackError("the block ends within a number") from None
    raise HpackError("a number is too large")


def _text(block: bytes, at: int) -> tuple[bytes, int]:
    coded = at < len(block) and block[at] & 0x80
    length, at = _number(block, at, 0x7F)
    end = at + length
    if end > len(block):
        raise HpackError("the block ends within a text")
    text = block[at:end]
    if not coded:
        return text, end
    try:
        return huffman.decode(text), end
    except ValueError as error:
        raise HpackError(str(error)) from None


def _static() -> tuple[Field, ...]:
    """The static table (RFC 7541, appendix A) from index 1 on: a field a word, `name=value`."""
    text = """
        :authority :method=GET :method=POST :path=/ :path=/index.html :scheme=http :scheme=https :status=200
        :status=204 :status=206 :status=304 :status=400 :status=404 :status=500 accept-charset
        accept-encoding=gzip,~deflate accept-language accept-ranges accept access-control-allow-origin age
        allow authorization cache-control content-disposition content-encoding content-language
        content-length content-location content-range content-type cookie date etag expect expires from host
        if-match if-modified-since if-none-match if-range if-unmodified-since last-modified link location
        max-forwards proxy-authenticate proxy-authorization range referer refresh retry-after server
        set-cookie strict-transport-security transfer-encoding user-agent vary via www-authenticate
    """
    fields = [word.replace("~", " ").encode().partition(b"=") for word in text.split()]
    return ((b"", b""), *((name, value) for name, _, value in fields))


_STATIC = _static()
