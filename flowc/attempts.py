"""Which attempt of which node is being executed, for operators that write it down elsewhere."""

from __future__ import annotations

from typing import Any, NamedTuple

from flowc.plan import runtime


class Attempt(NamedTuple):
    """An attempt of a node. `artifacts` are the hashes of the arguments that other nodes gave, whole."""

    run: str
    node: str
    number: int
    artifacts: dict[str, str]


def attempt() -> Attempt | None:
    """The attempt that calls this; none outside of a run.

    A result must not depend on it, or it is another one in every run.
    """
    order = runtime.order
    if order is None:
        return None
    given = {
        name: _hash(tree["artifact"])
        for name, tree in order.args.items()
        if isinstance(tree, dict) and "artifact" in tree and not tree["at"]
    }
    return Attempt(order.run, order.node, order.attempt, given)


def _hash(source: Any) -> str:
    """Small artifacts come along with the order."""
    if isinstance(source, str):
        return source
    from blake3 import blake3

    digest: str = blake3(source).hexdigest()
    return digest
