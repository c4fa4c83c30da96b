"""Operators and a helper in another file than the workflow."""

from flowc import operator


@operator(retries=2)
def fetch(name: str) -> list[float]:
    import json  # Python's own: not listed
    import numpy

    return list(numpy.ones(3))


@operator
def scale(data: list[float], by: float = 1.0) -> list[float]:
    return [x * by for x in data]


def prepare(name, by):
    raw = fetch(name)
    return scale(raw, by)
