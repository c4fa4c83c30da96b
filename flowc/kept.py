"""What a compilation keeps for the next one: its partitions, and where in the plan their rows stand.

On disk that is an index of the plan, a hundredth of its size: the rows themselves are in the plan file. The
index says by a hash which plan it is of, so that it is of no use beside any other.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.model import Node, Site

_LARGEST_BYTES = 1 << 30  # of a file: more is not read
_HEAD_BYTES = 16
_decode_node = msgspec.json.Decoder(Node).decode


class _Row(msgspec.Struct, frozen=True, array_like=True):
    """Something that is kept on disk."""


class KeptCall(_Row, frozen=True):
    """A call by where it stands in its function, so that the function may move in its file."""

    file: str
    function: str
    line: int  # from the function's first
    column: int
    end_column: int
    name: str
    loops: tuple[str, ...]


class KeptSite(_Row, frozen=True):
    """A site: its row, and what it was named by, from the partition's own calls on."""

    row: Site
    reference: str
    path: str
    operator: str
    calls: tuple[KeptCall, ...]


class Kept(_Row, frozen=True):
    """A partition: where the rows of its nodes stand, and what there is to know without reading these.

    `start` and `size` are bytes of the plan; `inner` are the keys of the partitions directly within. `needs`
    are nodes outside that it waits for, `ends` those inside that others may refer to or wait for, both with
    their depths, which `levels` builds on: depth, count, and sites in order of appearance.
    """

    start: int
    size: int
    count: int
    inner: list[str]
    sites: list[KeptSite]
    needs: dict[str, int]
    ends: dict[str, int]
    levels: list[tuple[int, int, list[str]]]
    result: Any


class Known(msgspec.Struct, frozen=True, eq=False):
    """A plan, and the partitions in it by key."""

    plan: bytes = b""
    partitions: Mapping[str, Kept] = {}


class Slice:
    """A partition that was restored, among the nodes of a trace."""

    def __init__(self, key: str, known: Known) -> None:
        self.key = key
        self.kept = known.partitions[key]
        self._known = known

    def rows(self) -> memoryview:
        """The encoded rows."""
        return memoryview(self._known.plan)[self.kept.start : self.kept.start + self.kept.size]

    def nodes(self) -> Iterator[Node]:
        """The nodes themselves."""
        return map(_decode_node, bytes(self.rows()).splitlines())

    def partitions(self) -> Iterator[tuple[str, Kept]]:
        """This partition and those within, by key."""
        todo = [self.key]
        while todo:
            key = todo.pop()
            kept = self._known.partitions[key]
            yield key, kept
            todo += kept.inner


class _Index(_Row, frozen=True):
    digest: bytes  # of the plan
    partitions: dict[str, Kept]


def read_known(index: Path, plan: Path) -> Known:
    """What an earlier compilation kept; nothing if it is damaged, of another flowc, or of another plan."""
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if max(index.stat().st_size, plan.stat().st_size) <= _LARGEST_BYTES:
            data = index.read_bytes()
            head, body = data[:_HEAD_BYTES], data[_HEAD_BYTES:]
            if head == _head(body):
                found, rows = msgspec.msgpack.decode(body, type=_Index), plan.read_bytes()
                if found.digest == _digest(rows) and _is_whole(found.partitions, len(rows)):
                    return Known(rows, found.partitions)
    return Known()


def write_known(index: Path, known: Known) -> None:
    """Keep it for the next compilation. That it cannot be written is no reason to complain."""
    partial = index.with_name(f".{index.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with contextlib.suppress(OSError):
        body = msgspec.msgpack.encode(_Index(_digest(known.plan), dict(known.partitions)))
        index.parent.mkdir(parents=True, exist_ok=True)
        try:
            partial.write_bytes(_head(body) + body)
            partial.replace(index)
        finally:
            partial.unlink(missing_ok=True)


def _is_whole(partitions: Mapping[str, Kept], size: int) -> bool:
    """Whether everything that an index speaks of is there."""
    return all(
        0 <= kept.start <= kept.start + kept.size <= size and partitions.keys() >= set(kept.inner)
        for kept in partitions.values()
    )


def _digest(plan: bytes) -> bytes:
    from blake3 import blake3  # a fifth of what hashlib takes; small plans do without

    return blake3(plan).digest()


def _head(body: bytes) -> bytes:
    """What an index begins with: which compiler wrote it, and a checksum."""
    return _compiler() + zlib.crc32(body).to_bytes(4, "little")


@functools.cache
def _compiler() -> bytes:
    """12 bytes that stand for this compiler's source: another one may have other rows."""
    found = hashlib.blake2b(digest_size=_HEAD_BYTES - 4)
    for folder in (Path(__file__).parent, Path(__file__).parent / "plan"):
        for name in sorted(os.listdir(folder)):
            if name.endswith(".py"):
                found.update(f"{name}\n".encode() + (folder / name).read_bytes())
    return found.digest()
