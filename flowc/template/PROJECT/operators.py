"""The operators: plain, typed functions. `flowc` checks how they fit together, `flowrun` runs them."""

from dataclasses import dataclass

from flowc import operator


@dataclass(frozen=True)
class Points:
    """Points in the plane."""

    x: list[float]
    y: list[float]


@dataclass(frozen=True)
class Parts:
    """Points to learn from, and points kept aside to test with."""

    train: Points
    test: Points


@dataclass(frozen=True)
class Model:
    """The line `y = intercept + slope * x`."""

    name: str
    intercept: float
    slope: float


@operator
def sample(rows: int, seed: int = 0) -> Points:
    """Points near a line. Read your own data here."""
    import random

    chance = random.Random(seed)
    x = [chance.uniform(0, 10) for _ in range(rows)]
    return Points(x, [2 + 3 * value + chance.gauss(0, 1) for value in x])


@operator
def split(points: Points, test_share: float) -> Parts:
    """The last of the points are for testing."""
    test = max(1, round(len(points.x) * test_share))
    return Parts(
        train=Points(points.x[:-test], points.y[:-test]),
        test=Points(points.x[-test:], points.y[-test:]),
    )


@operator(memory="64MB", retries=1)
def fit(points: Points, name: str) -> Model:
    """Fit a constant, or a line by least squares."""
    mean_x, mean_y = sum(points.x) / len(points.x), sum(points.y) / len(points.y)
    if name == "constant":
        return Model(name, mean_y, 0.0)
    covariance = sum((x - mean_x) * (y - mean_y) for x, y in zip(points.x, points.y, strict=True))
    slope = covariance / sum((x - mean_x) ** 2 for x in points.x)
    return Model(name, mean_y - slope * mean_x, slope)


@operator
def error(model: Model, points: Points) -> float:
    """The mean squared error."""
    pairs = zip(points.x, points.y, strict=True)
    return sum((model.intercept + model.slope * x - y) ** 2 for x, y in pairs) / len(points.x)


@operator
def best(models: list[Model], errors: list[float]) -> Model:
    """The model with the least error."""
    for model, value in zip(models, errors, strict=True):
        print(f"{model.name}: {value:.3f}")
    return models[errors.index(min(errors))]
