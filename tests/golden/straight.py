"""A straight line of calls, one value handed on."""

from flowc import operator, workflow


@operator
def load(path: str) -> list[int]:
    return [1]


@operator
def clean(data: list[int]) -> list[int]:
    return data


@operator
def fit(data: list[int], rate: float = 0.1) -> float:
    return rate


@workflow
def main(path: str = "data.csv"):
    data = load(path)
    data = clean(data)
    return fit(data, rate=0.5)
