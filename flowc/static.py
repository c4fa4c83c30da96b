"""Binding the static inputs of a workflow: those that are fixed when it is compiled."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import msgspec

from flowc.definitions import definition_of
from flowc.lang import Workflow
from flowc.plan.diagnostics import Diagnostic, Label, Refused, refuse
from flowc.plan.model import Plan
from flowc.plan.types import Type, convert, parse_text


def bind_static(workflow: Workflow[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The value of every static input, from `given` texts or values, then defaults.

    `Refused` (FC025) carries each that is missing, unknown or of the wrong type.
    """
    problems = [_unknown(workflow, name) for name in given if name not in workflow.static]
    bound: dict[str, Any] = {}
    for name, of in workflow.static.items():
        default = workflow.signature.parameters[name].default
        if name in given:
            value = given[name]
            try:
                bound[name] = parse_text(value, of) if isinstance(value, str) else convert(value, of)
            except msgspec.ValidationError:
                message = f"static input `{name}` must be of type `{of.short()}`, got `{value}`"
                problems.append(_problem(workflow, name, message))
        elif default is inspect.Parameter.empty:
            message = f"static input `{name}` of `{workflow.name}` has no value"
            hint = f"give it with `--static {name}=...`, of type `{of.short()}`"
            problems.append(_problem(workflow, name, message, hint))
        else:
            bound[name] = default
    if problems:
        raise Refused(*problems)
    return bound


def given_static(
    texts: Sequence[str], types: Mapping[str, Type], committed: Plan | None = None
) -> dict[str, str]:
    """Static inputs from `NAME=VALUE` texts, and those that a committed plan was compiled with.

    `Refused` (FC025) for a text that is not written so.
    """
    found = texts_of(committed.header.static, types) if committed is not None else {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            refuse("FC025", f"`--static {text}` is not NAME=VALUE", hint=f"for example `--static {text}=5`")
        found[name.strip()] = value
    return found


def texts_of(static: Mapping[str, Any], types: Mapping[str, Type]) -> dict[str, str]:
    """The static inputs of a plan, as far as there still are such, as they would be given with `--static`."""
    return {
        name: tree if types[name].name == "str" else msgspec.json.encode(_value(tree)).decode()
        for name, tree in static.items()
        if name in types
    }


def _value(tree: Any) -> Any:
    if isinstance(tree, dict):
        return {key: _value(part) for key, part in tree["map"].items()}
    return [_value(part) for part in tree] if isinstance(tree, list) else tree


def _unknown(workflow: Workflow[..., Any], name: str) -> Diagnostic:
    if name in workflow.inputs:
        hint = f"give it when the plan is executed, or declare it `{name}: Static[...]`"
        return _problem(workflow, name, f"input `{name}` of `{workflow.name}` is not static", hint)
    close = get_close_matches(name, workflow.static, 1)
    known = ", ".join(f"`{known}`" for known in workflow.static) or "none"
    hint = f"did you mean `{close[0]}`?" if close else f"its static inputs are: {known}"
    return _problem(workflow, "", f"`{workflow.name}` has no static input `{name}`", hint)


def _problem(workflow: Workflow[..., Any], name: str, message: str, hint: str = "") -> Diagnostic:
    return Diagnostic("FC025", message, (Label(definition_of(workflow.origin, name)),), hint=hint)
