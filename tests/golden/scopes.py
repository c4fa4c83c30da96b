"""Helpers and nested workflows are scopes: their calls are named below the call of the helper."""

from shared_steps import fetch, prepare, scale
from flowc import workflow


@workflow
def inner(name: str, by: float = 2.0):
    data = fetch(name)
    return {"scaled": scale(data, by), "raw": data}


def both(names):
    return [prepare(name, 0.5) for name in names]


@workflow
def main(name: str):
    first = inner(name)
    second = inner("fixed", by=3.0)
    many = both(["x", "y"])
    return prepare("alone", 1.0), first["scaled"], second["raw"], many
