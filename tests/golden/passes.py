"""What the passes change: constants, equal calls, calls for nothing, estimates, chains."""

from flowc import operator, workflow


@operator(deterministic=True, fold=True)
def seeds(first: int, count: int) -> list[int]:
    return [first + i for i in range(count)]


@operator(deterministic=True, estimate="90s", memory="2GB")
def load(path: str) -> list[float]:
    return [float(len(path))]


@operator(deterministic=True, memory="2GB")
def scale(data: list[float], by: float = 1.0) -> list[float]:
    return [x * by for x in data]


@operator(estimate="5m", gpus=1)
def train(data: list[float], seeds: list[int], rate: float) -> float:
    return sum(data) * rate


@workflow
def main(path: str):
    models = []
    for rate in (0.1, 0.01):
        data = scale(load(path), by=2)
        models.append(train(data, seeds(7, 3), rate))
    forgotten = scale(load("other"))
    return models
