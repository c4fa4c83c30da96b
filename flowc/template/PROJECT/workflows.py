"""The workflows: what is done, in which order. Nothing runs here; `flowc` writes the calls into a plan."""

from flowc import workflow

from PROJECT.operators import Model, best, error, fit, sample, split

NAMES = ("constant", "line")


@workflow
def train(rows: int = 200, test_share: float = 0.25) -> Model:
    """Fit some models side by side, and keep the one that does best on points it has not seen."""
    parts = split(sample(rows), test_share)
    models = [fit(parts.train, name) for name in NAMES]
    errors = [error(model, parts.test) for name, model in zip(NAMES, models, strict=True)]
    return best(models, errors)
