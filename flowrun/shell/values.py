"""What the scheduler has to read of a run's values: where arguments lie, and what control nodes ask for.

Arguments go to workers as located trees: with `{"artifact": SOURCE, "at": [...]}` or `{"value": ...}` for
references. A source is the hash of a manifest, or a small manifest itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import msgspec

from flowc.plan.edges import positions
from flowc.plan.model import InputRef, Ref, Structure
from flowc.plan.types import Type, parse
from flowrun.core.changes import Resolved
from flowrun.core.control import flat
from flowrun.core.keys import substitute
from flowrun.core.model import Failure
from flowrun.core.state import State
from flowrun.core.task import Task
from flowrun.shell.store.artifacts import Damaged, Missing, Source, Store

MAX_ITEMS = 100_000  # of a loop: each is a node, which the scheduler has to hold


class Values:
    """The values of a run, by reference."""

    def __init__(self, state: State, store: Store) -> None:
        self._state = state
        self._store = store
        self._structures: dict[str, Structure] = {s.type: s for s in state.plan.structures}

    def arguments(self, task: Task) -> dict[str, Any]:
        """The trees that a worker is sent; `Unfit` if one selects what its value does not have."""
        return {name: self.located(tree) for name, tree in task.node.args.items()}

    def located(self, tree: Any) -> Any:
        """A tree as a worker is sent it. What a skipped node would have given is `None`."""
        return substitute(flat(tree, self._state.results), self._locate)

    def _locate(self, ref: Ref | InputRef) -> Any:
        if isinstance(ref, InputRef):
            return {"value": self._input(ref)}
        task = self._state.by_id[ref.source]
        if ref.source in self._state.results:
            raise Unfit(f"what `{ref.source}` came to has no {_path(ref)}")
        if task.artifact is None:
            return {"value": None}
        gives = parse(task.site.gives)
        return {"artifact": task.artifact.source, "at": positions(gives, ref.at, self._structures)}

    def _input(self, ref: InputRef) -> Any:
        value = self._state.inputs[ref.input]
        try:
            for step in ref.at:
                value = value[step]
        except (KeyError, IndexError, TypeError):
            raise Unfit(f"the value of input `{ref.input}` has no {_path(ref)}") from None
        return msgspec.to_builtins(value)

    def resolve(self, task: Task, now_ms: int) -> Resolved:
        """What a control node asks for."""
        node = task.node.id
        try:
            if task.site.control == "branch":
                return Resolved(now_ms, node, truth=self._truth(task))
            return Resolved(now_ms, node, names=self._names(task))
        except Damaged as error:
            return Resolved(now_ms, node, failure=Failure("FR306", str(error), damaged=error.artifact))
        except (Unfit, Missing) as error:
            return Resolved(now_ms, node, failure=Failure("FR208", str(error)))

    def _truth(self, task: Task) -> bool:
        value = self._read(task.node.args["condition"])
        if not isinstance(value, bool):
            raise Unfit(f"a condition must be a `bool`, got {_shown(value)}")
        return value

    def _names(self, task: Task) -> tuple[str, ...]:
        """What each item of a loop is called."""
        items = "items" if task.site.control == "reduce" else task.site.each[0]
        values = self._read(task.node.args[items])
        if not isinstance(values, list):
            raise Unfit(f"a loop needs a list, got {_shown(values)}")
        if len(values) > MAX_ITEMS:
            raise Unfit(f"a loop over {len(values)} items is too long: at most {MAX_ITEMS} can be scheduled")
        if task.site.control == "reduce":
            if not values and "initial" not in task.node.args:
                raise Unfit("a reduction of an empty list needs an `initial`")
            return tuple(map(str, range(len(values))))
        if not task.site.key:
            return tuple(map(str, range(len(values))))
        of = _item(parse(task.site.takes[items]))
        try:
            step = positions(of, (task.site.key,), self._structures)[0]
            names = tuple(_name(value[step]) for value in values)
        except (KeyError, IndexError, TypeError):
            raise Unfit(f"not every item has a field `{task.site.key}` to be named after") from None
        if len(set(names)) < len(names):
            twice = Counter(names).most_common(1)[0][0]
            raise Unfit(f"two items are called `{twice}`: their `{task.site.key}` must tell them apart")
        return names

    def _read(self, tree: Any) -> Any:
        """The value of a tree; arrays stay unread."""
        return loaded(self.located(tree), self._store.outline)


def loaded(tree: Any, load: Callable[[Source, list[str | int]], Any]) -> Any:
    """The value of a located tree. `load` gives that of a part of an artifact."""
    if isinstance(tree, list):
        return [loaded(part, load) for part in tree]
    if isinstance(tree, dict):
        if "map" in tree:
            return {key: loaded(part, load) for key, part in tree["map"].items()}
        return load(tree["artifact"], tree["at"]) if "artifact" in tree else tree["value"]
    return tree


class Unfit(ValueError):
    """A value is not what a node needs of it."""


def _path(ref: Ref | InputRef) -> str:
    return f"`{'.'.join(map(str, ref.at))}`"


def _item(of: Type) -> Type:
    inner = of.args[0] if of.name == "list" and of.args else None
    return inner if isinstance(inner, Type) else Type("Any")


def _name(value: Any) -> str:
    """As it may stand in an id."""
    return "".join(c if c.isalnum() or c in "_.+-" else "_" for c in str(value))[:64]


def _shown(value: Any) -> str:
    return "an array" if isinstance(value, msgspec.msgpack.Ext) else f"`{type(value).__name__}`"
