"""In what two computations differ, in words."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from flowrun.core.reuse import Content

_LONGEST = 40  # characters of a value that is shown


def differences(now: Content, before: Content, run: str) -> list[str]:
    """Why a node had to be computed, though `run` had computed one of that name; nothing if it had not."""
    found = []
    if now.op != before.op:
        found.append(f"it calls `{now.op}` instead of `{before.op}` in {run}")
    elif now.code != before.code:
        found.append(f"its operator's code differs from {run}")
    found += _versions(now.versions, before.versions, run)
    found += _arguments(now.args, before.args, run)
    return found


def _versions(now: Mapping[str, str], before: Mapping[str, str], run: str) -> Iterator[str]:
    for name in sorted({*now, *before}):
        is_now, was = now.get(name), before.get(name)
        if is_now is None:
            yield f"its operator does not import {name} any more, as in {run}"
        elif was is None:
            yield f"its operator imports {name}, other than in {run}"
        elif is_now != was:
            yield f"{name} {is_now} instead of {was} in {run}"


def _arguments(now: Mapping[str, Any], before: Mapping[str, Any], run: str) -> Iterator[str]:
    for name in sorted({*now, *before}):
        if name not in now:
            yield f"argument `{name}` is not given any more, as in {run}"
        elif name not in before:
            yield f"argument `{name}` is given, other than in {run}"
        elif now[name] != before[name]:
            values = _value(now[name]), _value(before[name])
            if None in values:
                yield f"argument `{name}` has other content than in {run}"
            else:
                yield f"argument `{name}` is {values[0]} instead of {values[1]} in {run}"


def _value(tree: Any) -> str | None:
    """A small value as JSON; none of what lies in the store."""
    if isinstance(tree, dict) and tree.keys() == {"value"}:
        tree = tree["value"]
    elif isinstance(tree, (dict, list)):
        return None
    text = json.dumps(tree)
    return text if len(text) <= _LONGEST else None
