"""A plan as lines to be compared by git: one for each input, site and node, in words.

Nothing is checked: a row that is none is written as it is, so that git can show damaged plans and merge
conflicts, too. What follows from other rows (levels), is summed up in others (code), or moves with every
edit (spans) is left out.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.model import AnyRow, Header, Node, Package, Row, Site, Structure
from flowc.plan.text import printable
from flowc.review.expressions import declaration, expression, written

_decoder = msgspec.json.Decoder(AnyRow)


def write_lines(file: str) -> None:
    """Print a plan file's lines; `Refused` (FC201) if it cannot be read."""
    try:
        data = Path(file).read_bytes()
    except OSError as error:
        refuse("FC201", f"cannot read the plan `{file}`: {error.strerror}")
    sys.stdout.writelines(f"{line}\n" for line in lines(data))


def lines(data: bytes) -> Iterator[str]:
    """The lines of a plan file's bytes."""
    for row in data.splitlines():
        try:
            yield from map(printable, _lines(_decoder.decode(row)))
        except (ValueError, LookupError, AttributeError, RecursionError):
            yield printable(row.decode(errors="replace"))


def _lines(row: Row) -> list[str]:
    match row:
        case Header():
            inputs = [f"input {name}: {declaration(declared)}" for name, declared in row.inputs.items()]
            head = " ".join(
                [f"workflow {row.workflow}", *_others(row, "workflow", "format", "inputs", "result")]
            )
            return [head, *inputs, f"result {expression(row.result)}"]
        case Structure():
            fields = ", ".join(f"{name}: {kind}" for name, kind in row.fields.items())
            return [" ".join([f"type {row.type}({fields})", *_others(row, "type", "fields")])]
        case Site():
            takes = ", ".join(f"{name}: {kind}" for name, kind in row.takes.items())
            head = f"site {row.site}: {row.op}({takes}) -> {row.gives}"
            return [" ".join([head, *_others(row, "site", "op", "takes", "gives")])]
        case Node():
            args = ", ".join(f"{name}={expression(tree)}" for name, tree in row.args.items())
            after = f" after {', '.join(row.after)}" if row.after else ""
            return [" ".join([f"node {row.id}({args}){after}", *_others(row, "id", "args", "after")])]
        case Package():
            return [f"package {row.package} {row.version}"]
        case _:
            return []


def _others(row: msgspec.Struct, *told: str) -> Iterator[str]:
    """The members that are neither told already nor at their defaults."""
    for field in msgspec.structs.fields(row):
        value = getattr(row, field.name)
        made = field.default_factory is not msgspec.NODEFAULT
        if field.name not in told and value != (field.default_factory() if made else field.default):
            inner = isinstance(value, msgspec.Struct)
            yield f"{field.name} {'(' + ', '.join(_others(value)) + ')' if inner else written(value)}"
