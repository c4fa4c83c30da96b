"""What only a run knows, taken for granted: how many items a loop has, which branch is taken."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from flowc.plan.history import History
from flowc.plan.model import InputRef, as_reference, site_of
from flowrun.core.changes import Resolved
from flowrun.core.control import flat
from flowrun.core.model import Inputs
from flowrun.core.state import State
from flowrun.core.task import Task

DEFAULT_ITEMS = 10
MOST_ITEMS = 100_000  # as in a run

Reason = Literal["known", "given", "history", "assumed"]


class Assumption(msgspec.Struct, frozen=True):
    """What was taken for granted of a control node: its number of items, or whether its condition holds."""

    node: str
    answer: int | bool
    reason: Reason


class Answers:
    """Answers what control nodes ask, and keeps `told`, what it said and why.

    The first of: what follows from the plan and the inputs that are given (`known`); `given` by node, or by
    site for all its nodes; what earlier runs had (`history`); 10 items, and that conditions hold.
    """

    def __init__(
        self, inputs: Inputs, given: Mapping[str, int | bool] | None = None, history: History | None = None
    ) -> None:
        self._inputs = inputs
        self._given = given or {}
        self._items = {
            (record.op, record.code): record.items
            for record in (history or History()).records
            if record.items
        }
        self.told: list[Assumption] = []

    def resolve(self, state: State, task: Task, now_ms: int) -> Resolved:
        """What happens next in the world, of a control node that asks."""
        node = task.node.id
        if task.site.control == "branch":
            truth = bool(self._tell(node, self._read(state, task.node.args["condition"], bool), True, None))
            return Resolved(now_ms, node, truth=truth)
        reduces = task.site.control == "reduce"
        known = self._read(state, task.node.args["items" if reduces else task.site.each[0]], list)
        measured = self._items.get((task.site.op, task.site.code))
        items = self._tell(node, None if known is None else len(known), DEFAULT_ITEMS, measured)
        if reduces and "initial" not in task.node.args:
            items = max(1, items)  # nothing at all would be a failure
        return Resolved(now_ms, node, names=tuple(map(str, range(min(items, MOST_ITEMS)))))

    def _tell(
        self, node: str, known: int | bool | None, default: int | bool, measured: int | None
    ) -> int | bool:
        given = self._given.get(node, self._given.get(site_of(node)))
        found: list[tuple[int | bool | None, Reason]] = [
            (known, "known"),
            (given, "given"),
            (measured, "history"),
            (default, "assumed"),
        ]
        answer, reason = next((answer, reason) for answer, reason in found if answer is not None)
        self.told.append(Assumption(node, answer, reason))
        return answer

    def _read(self, state: State, tree: Any, kind: type) -> Any:
        """The value of an argument as far as the plan and the inputs tell; `None` if they do not."""
        tree = flat(tree, state.results)
        if isinstance(tree, dict) and "map" not in tree:
            ref = as_reference(tree)
            if not isinstance(ref, InputRef) or ref.input not in self._inputs:
                return None
            tree = self._inputs[ref.input]
            try:
                for step in ref.at:
                    tree = tree[step]
            except (KeyError, IndexError, TypeError):
                return None
        return tree if isinstance(tree, kind) else None
