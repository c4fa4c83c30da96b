"""Operators that measure classifiers and choose between them."""

from typing import TypeVar

from flowc import operator
from flowc.types import Schema
from stdlib.types import Dataset, Model, Ranked, Scores

C = TypeVar("C", bound=Schema)


@operator(memory="512MB")
def classifier(data: Dataset[C], model: Model[C]) -> Scores:
    """How well the model does on the rows of `data`.

    `ValueError` if there are none, the model was trained on other columns or classes, or it is broken.
    """
    import numpy as np

    import stdlib.models

    if not data.rows:
        raise ValueError("there are no rows to measure on")
    for what, of_data, of_model in (
        ("columns", data.feature_names, model.feature_names),
        ("classes", data.classes, model.classes),
    ):
        if list(of_data) != list(of_model):
            raise ValueError(
                f"the model knows other {what} ({_some(of_model)}) than the data ({_some(of_data)})"
            )

    probabilities = stdlib.models.predict(model, data.features)
    if not np.isfinite(probabilities).all():
        raise ValueError("the model gives probabilities that are not numbers")
    predicted = probabilities.argmax(axis=1)
    confusion = np.zeros((len(data.classes), len(data.classes)), dtype=np.int64)
    np.add.at(confusion, (data.target, predicted), 1)
    hits = confusion.diagonal()
    # F1 is 2·hits / (right + predicted); a class that is neither in the data nor predicted counts as 0.
    f1 = 2 * hits / np.maximum(confusion.sum(axis=0) + confusion.sum(axis=1), 1)
    # A tree may give the right class no probability at all: a finite penalty, as scikit-learn's.
    likelihood = np.maximum(probabilities[np.arange(data.rows), data.target], np.finfo(np.float64).eps)
    scores = Scores(
        rows=data.rows,
        accuracy=float(hits.sum() / data.rows),
        macro_f1=float(f1.mean()),
        log_loss=float(-np.log(likelihood).mean()),
        confusion=confusion.tolist(),
    )
    print(
        f"{model.family}: accuracy {scores.accuracy:.4f}, log loss {scores.log_loss:.4f} on {data.rows} rows"
    )
    return scores


@operator
def pick_best(models: list[Model[C]], scores: list[Scores]) -> Model[C]:
    """The model with the best accuracy; of equals the one with the lowest log loss, then the first.

    `scores` belong to `models` in order. `ValueError` if there are none, or not as many of both.
    """
    if not models or len(models) != len(scores):
        raise ValueError(
            f"as many scores as models are needed, and at least one: {len(scores)}, {len(models)}"
        )
    best = min(range(len(models)), key=lambda index: (*_merit(scores[index]), index))
    print(f"best of {len(models)}: number {best + 1}, {models[best].family}")
    return models[best]


@operator
def leaderboard(scores: dict[str, Scores]) -> list[Ranked]:
    """Named scores, ranked as `pick_best` does, but equals by name: a plan keeps no order of a dict."""
    ranked = sorted(scores.items(), key=lambda item: (*_merit(item[1]), item[0]))
    for name, score in ranked:
        print(f"{score.accuracy:.4f}  {score.log_loss:8.4f}  {name}")
    return [
        Ranked(rank, name, score.accuracy, score.macro_f1, score.log_loss)
        for rank, (name, score) in enumerate(ranked, start=1)
    ]


def _merit(scores: Scores) -> tuple[float, float]:
    """Sorts the best first."""
    return -scores.accuracy, scores.log_loss


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f", … {len(names)} in all" if len(names) > 3 else "")
