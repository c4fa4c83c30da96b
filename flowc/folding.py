"""Calling operators at compile time, where they declare `fold=True`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from flowc.lang import Operator
from flowc.optimize import NoConstant
from flowc.plan.diagnostics import Diagnostic, Label, Place
from flowc.plan.model import Node

SLOW_S = 0.1


class Folding:
    """Computes constants, and notes what went wrong with them: one warning for a site and a kind of wrong.

    How long a call takes never decides what the plan holds, or the same source would have different plans.
    """

    def __init__(
        self,
        operators: Mapping[str, Operator[..., Any]],
        places: Mapping[str, Place],
        clock: Callable[[], float],
    ) -> None:
        """`operators` by the references of sites, `places` of their calls by site."""
        self.warnings: dict[tuple[str, str], Diagnostic] = {}
        self._operators = operators
        self._places = places
        self._clock = clock

    def __call__(self, node: Node, op: str, arguments: Mapping[str, Any]) -> Any:
        """The result of a node's operator; `NoConstant`, with a warning (FC211), if it raises."""
        operator = self._operators[op]
        began = self._clock()
        try:
            value = operator.fn(**arguments)
        except (Exception, SystemExit) as error:
            said = f"{type(error).__name__}: {error}".removesuffix(": ")
            message = f"`{operator.name}` raised `{said}` at compile time, as it is going to in every run"
            self._warn("FC211", node, message)
            raise NoConstant("it raised an exception") from error
        took = self._clock() - began
        if took > SLOW_S:
            message = f"`{operator.name}` took {took:.2f} s at compile time"
            self._warn("FC213", node, message, "`fold=True` is for what takes next to no time: leave it out")
        return value

    def _warn(self, code: str, node: Node, message: str, hint: str = "") -> None:
        at = (Label(self._places[node.site], f"node `{node.id}`"),)
        found = Diagnostic(code, message, at, hint=hint, severity="warning")
        self.warnings.setdefault((code, node.site), found)
