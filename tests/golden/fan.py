"""Out to many, and in again: through a list, a dict, and both."""

from flowc import operator, workflow


@operator
def load(path: str) -> list[int]:
    return [1]


@operator
def score(data: list[int], weight: int = 1) -> float:
    return 1.0


@operator
def best(scores: list[float], named: dict[str, float]) -> float:
    return max(scores)


@operator
def report(everything: dict[str, list[float]]) -> str:
    return ""


@workflow
def main():
    data = load("data.csv")
    scores = [score(data, weight) for weight in range(5)]
    named = {name: score(data) for name in ("z", "a")}
    top = best(scores, named)
    return report({"scores": scores, "named": [named["a"], named["z"]], "top": [top]})
