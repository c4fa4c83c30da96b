"""Binding what a user gives to a workflow's inputs."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from flowc.plan import types
from flowc.plan.diagnostics import Diagnostic, Refused
from flowc.plan.model import Header
from flowrun.core.model import Inputs


def bind(header: Header, given: Sequence[str], earlier: Inputs | None = None) -> Inputs:
    """The value of every input, from `NAME=VALUE` texts, then `earlier` values, then defaults.

    Values are plain JSON, as the run log gives them back: a resumed run computes with the same. `Refused`
    carries every input that is missing (FR101), unknown (FR102), of the wrong type (FR103) or not written as
    NAME=VALUE (FR104).
    """
    problems: list[Diagnostic] = []
    wrong: set[str] = set()
    bound: Inputs = {}
    for text in given:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals:
            first = next(iter(header.inputs), "NAME")
            example = f"{name}=..." if name in header.inputs else f"{first}={text}"
            hint = f"for example `-i {example}`"
            problems.append(Diagnostic("FR104", f"`-i {text}` is not NAME=VALUE", hint=hint))
        elif name not in header.inputs:
            problems.append(_unknown(header, name))
        else:
            try:
                bound[name] = _plain(types.parse_text(value, types.parse(header.inputs[name].type)))
            except msgspec.ValidationError as error:
                wrong.add(name)
                problems.append(_mistyped(header, name, value, str(error)))
    for name, declared in header.inputs.items():
        if name in bound or name in wrong:
            continue
        if earlier and name in earlier:
            try:  # the plan may want another type by now
                bound[name] = _plain(types.convert(earlier[name], types.parse(declared.type)))
            except msgspec.ValidationError as error:
                problems.append(_mistyped(header, name, str(earlier[name]), str(error)))
        elif declared.required:
            hint = f"give it with `-i {name}=...`, of type `{declared.type}`"
            problems.append(Diagnostic("FR101", f"input `{name}` of `{header.name}` is missing", hint=hint))
        else:
            bound[name] = _value(declared.default)
    if problems:
        raise Refused(*problems)
    return bound


def _value(tree: Any) -> Any:
    """The value of an argument tree without references."""
    if isinstance(tree, dict):
        return {key: _value(part) for key, part in tree["map"].items()}
    return [_value(part) for part in tree] if isinstance(tree, list) else tree


def _plain(value: Any) -> Any:
    """As JSON has it; sets in one order, whatever the process."""
    return msgspec.to_builtins(value, order="deterministic")


def _unknown(header: Header, name: str) -> Diagnostic:
    close = get_close_matches(name, header.inputs, 1)
    known = ", ".join(f"`{known}: {declared.type}`" for known, declared in header.inputs.items()) or "none"
    hint = f"did you mean `{close[0]}`?" if close else f"its inputs are {known}"
    return Diagnostic("FR102", f"`{header.name}` has no input `{name}`", hint=hint)


def _mistyped(header: Header, name: str, value: str, why: str) -> Diagnostic:
    message = f"input `{name}` must be of type `{header.inputs[name].type}`, got `{value[:100]}`"
    # Within a list or a mapping, msgspec says where; outside of one it has nothing to add.
    return Diagnostic("FR103", message, notes=(why,) if "`$" in why else ())
