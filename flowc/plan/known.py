"""Plans that were checked before, from the bytes that `codec.encode` gave: decoded, and not checked again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import msgspec

from flowc.plan.model import (
    FORMAT,
    AnyRow,
    Code,
    Header,
    Level,
    Node,
    Package,
    Plan,
    Site,
    Span,
    Structure,
)

SLICE = 2_000  # rows, a few milliseconds
_KINDS = (Structure, Site, Node, Level, Span, Code, Package)  # in the order of `Plan`'s fields
_decode = msgspec.json.Decoder(AnyRow).decode


def decode(data: bytes) -> Plan:
    """The plan; `msgspec.DecodeError` if the bytes are not those of a plan of this format."""
    steps = decoding(data)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            plan: Plan = end.value
            return plan


def decoding(data: bytes) -> Generator[None, None, Plan]:
    """The same in steps of a few milliseconds: whoever has other things to do can do them in between."""
    lines = data.splitlines()
    rows: dict[type[Any], list[Any]] = {kind: [] for kind in (Header, *_KINDS)}
    for at in range(0, len(lines), SLICE):
        if at:
            yield
        for line in lines[at : at + SLICE]:
            row = _decode(line)
            rows[type(row)].append(row)
    headers = rows.pop(Header)
    if not headers or headers[0].format != FORMAT:
        raise msgspec.DecodeError(f"it is no plan of format {FORMAT}")
    return Plan(headers[0], *map(tuple, rows.values()))
