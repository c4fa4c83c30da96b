"""Binding what a user gives to a workflow's inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from flowc.plan import types
from flowc.plan.diagnostics import Diagnostic, Refused
from flowc.plan.model import Header
from flowc.plan.types import Classes, Type
from flowrun.core.model import Inputs

Examine = Callable[[Any, Type, Classes], None]


def bind(
    header: Header,
    given: Sequence[str],
    earlier: Inputs | None = None,
    classes: Classes | None = None,
    examine: Examine | None = None,
) -> Inputs:
    """The value of every input, from `NAME=VALUE` texts, then `earlier` values, then defaults.

    Values are plain JSON, as the run log gives them back: a resumed run computes with the same. `classes` are
    those that the plan describes; `examine` raises `ValueError` for what is no value of any other class.
    `Refused` carries every input that is missing (FR101), unknown (FR102), of the wrong type (FR103), not
    written as NAME=VALUE (FR104), out of bounds (FR105), or a secret's value instead of its place (FR106).
    """
    problems: list[Diagnostic] = []
    wrong: set[str] = set()
    bound: Inputs = {}
    classes = classes or {}

    def take(name: str, value: Any, read: Callable[[Any, Type, Classes], Any], shown: str) -> None:
        of = types.parse(header.inputs[name].type)
        try:
            bound[name] = _plain(read(value, of, classes))
            if examine is not None:
                examine(bound[name], of, classes)
        except (msgspec.ValidationError, ValueError, TypeError) as error:
            wrong.add(name)
            problems.append(_mistyped(name, of, shown, error, value, read, classes))

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
            take(name, value, types.parse_text, value)
    for name, declared in header.inputs.items():
        if name in bound or name in wrong:
            continue
        if earlier and name in earlier:  # the plan may want another type by now
            take(name, earlier[name], types.convert, str(earlier[name]))
        elif declared.required:
            hint = f"give it with `-i {name}=...`, of type `{types.parse(declared.type).short()}`"
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
    from difflib import get_close_matches

    close = get_close_matches(name, header.inputs, 1)
    known = ", ".join(f"`{known}: {declared.type}`" for known, declared in header.inputs.items()) or "none"
    hint = f"did you mean `{close[0]}`?" if close else f"its inputs are {known}"
    return Diagnostic("FR102", f"`{header.name}` has no input `{name}`", hint=hint)


def _mistyped(
    name: str,
    of: Type,
    shown: str,
    error: Exception,
    value: Any,
    read: Callable[[Any, Type, Classes], Any],
    classes: Classes,
) -> Diagnostic:
    if "Secret" in str(of):  # what was given may be the secret itself
        hint = f"for example `-i {name}=env:NAME`, the name of an environment variable, or `file:PATH`"
        return Diagnostic("FR106", f"input `{name}` takes the place of a secret, not its value", hint=hint)
    message = f"input `{name}` must be of type `{of.short()}`, got `{shown[:100]}`"
    if not isinstance(error, msgspec.ValidationError):
        return Diagnostic("FR103", message, notes=(str(error),))
    bounds = types.requirement(of)
    if bounds and _fits(value, types.plain(of), read, classes):
        return Diagnostic("FR105", f"input `{name}` must be {bounds}, got `{shown[:100]}`")
    structure = classes.get(of.name)
    if structure is not None and structure.values:
        message = f"input `{name}` must be one of {_listed(structure.values)}, got `{shown[:100]}`"
    # Within a list or a mapping, msgspec says where; outside of one it has nothing to add.
    return Diagnostic(
        "FR103", message, notes=(str(error),) if "`$" in str(error) or "field" in str(error) else ()
    )


def _fits(value: Any, of: Type, read: Callable[[Any, Type, Classes], Any], classes: Classes) -> bool:
    try:
        read(value, of, classes)
    except msgspec.ValidationError:
        return False
    return True


def _listed(values: tuple[Any, ...]) -> str:
    return ", ".join(f"`{value}`" for value in values[:20]) + (", ..." if len(values) > 20 else "")
