"""A result of nested lists and dicts, of nodes, fields, inputs and literals."""

from typing import NamedTuple

from flowc import operator, workflow


class Pair(NamedTuple):
    left: int
    right: int


@operator
def pair(seed: int) -> Pair: ...


@workflow
def main(seed: int = 1, label: str = "run"):
    one = pair(seed)
    two = pair(2)
    return {
        "z": [one.left, (two.right, [])],
        "a": {"seed": seed, "label": label, "whole": two},
        "constant": [1, 0.5, "text", None, False],
    }
