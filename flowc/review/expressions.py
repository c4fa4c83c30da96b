"""Argument trees as a person would write them: `parts.train`, `[tree, net]`, `input rate`, `"iris"`."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from flowc.plan.model import Input, InputRef, as_reference


def expression(tree: Any, name: Callable[[str], str] = str) -> str:
    """The text of an argument tree; `name` gives a node's id as it is to be shown."""
    if isinstance(tree, list):
        return f"[{', '.join(expression(part, name) for part in tree)}]"
    if isinstance(tree, dict):
        if "map" in tree:
            parts = (f"{_key(key)}: {expression(part, name)}" for key, part in tree["map"].items())
            return f"{{{', '.join(parts)}}}"
        ref = as_reference(tree)
        source = f"input {ref.input}" if isinstance(ref, InputRef) else name(ref.source)
        return ".".join((source, *map(str, ref.at)))
    return json.dumps(tree, ensure_ascii=False)


def declaration(declared: Input) -> str:
    """A workflow input: `float`, or `float = 0.5` with its default."""
    return declared.type if declared.required else f"{declared.type} = {expression(declared.default)}"


def written(value: Any) -> str:
    """A member of a row: text as it is, whole numbers without a fraction, the rest as JSON."""
    if isinstance(value, str):
        return value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, ensure_ascii=False)


def _key(key: str) -> str:
    return key if key.isidentifier() else json.dumps(key, ensure_ascii=False)
