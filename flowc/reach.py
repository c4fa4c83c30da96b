"""What the tracing of a workflow depends on: the code and the values that its function reaches.

Two traces with equal reach and equal arguments record the same calls, so that one of them can be spared. A
walk from value to value writes down all that they are, as JSON, with numbers for what is met again. Whatever
might make a trace differ in another way (files, the environment, the clock, libraries, names that are
computed) makes a workflow's reach unknown.

Of operators only the interface counts: what is in their bodies does not run while a workflow is traced.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from typing import Any

import msgspec

from flowc.bytecode import NEWEST
from flowc.lang import Operator, Workflow
from flowc.plan.diagnostics import Refused
from flowc.walk import Function, Unknown, Walk


class Reach(msgspec.Struct, frozen=True, eq=False):
    """All that a function reaches, and how to tell whether it is still the same.

    `lines` says where its functions begin; 0 where two of one name are reached. `numbers` knows what was met.
    """

    hash: str
    lines: dict[Function, int]
    operators: dict[str, Operator[..., Any]]
    numbers: Mapping[int, tuple[int, Any]]
    walk: Walk

    def holds(self) -> bool:
        """Whether every name that was followed still leads to the same object."""
        return self.walk.followed.holds()

    def state(self) -> str:
        """A hash of what is in the reached objects that can change; `Unknown` if that cannot be told."""
        walk = Walk(known=self.numbers)
        contents = [walk.content(value) for value in self.walk.changeable]
        return hash_of([contents, walk.finish(self.walk)])


def reach_of(workflow: Workflow[..., Any]) -> Reach:
    """What a workflow reaches; `Unknown` if that cannot be told."""
    if sys.version_info[:2] > NEWEST:
        raise Unknown
    walk = Walk()
    try:
        first = walk.shown(workflow)
        return Reach(hash_of([first, walk.finish()]), walk.lines, walk.operators, walk.numbers, walk)
    except Refused as refusal:  # an operator with an impossible annotation: the trace is going to say so
        raise Unknown from refusal


def hash_of(value: Any) -> str:
    """32 hex digits that stand for a JSON-like value; `Unknown` if it is none."""
    try:
        data = msgspec.json.encode(value, order="deterministic")
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise Unknown from None
    return hashlib.blake2b(data, digest_size=16).hexdigest()
