"""Which digit is in an image of 8 by 8 pixels? Four kinds of models compete, one of them in three sizes."""

from typing import Any

from flowc import workflow
from stdlib import evaluate, export, tables, train

WIDTHS = (32, 64, 128)


@workflow
def digits(epochs: int = 15, test_share: float = 0.25, seed: int = 0) -> dict[str, Any]:
    """Train all models side by side, rank them on rows kept aside, publish the best as `digits`.

    The rows that choose the winner are those that its accuracy is told of, so that is slightly flattering.
    """
    data = tables.load_digits()
    parts = tables.split(data, test_share=test_share, seed=seed)

    logistic = train.logistic_regression(parts.train)
    forest = train.random_forest(parts.train, seed=seed)
    perceptrons = {
        width: train.mlp(parts.train, width=width, epochs=epochs, learning_rate=0.003, seed=seed)
        for width in WIDTHS
    }
    convolutional = train.cnn(parts.train, epochs=epochs, seed=seed)

    candidates = {"logistic": logistic, "forest": forest}
    candidates |= {f"perceptron-{width}": model for width, model in perceptrons.items()}
    candidates["convolutional"] = convolutional
    scores = {name: evaluate.classifier(parts.test, model) for name, model in candidates.items()}

    best = evaluate.pick_best(list(candidates.values()), list(scores.values()))
    onnx = export.to_onnx(best, parts.test)
    published = export.publish(onnx, name="digits")
    return {"published": published, "leaderboard": evaluate.leaderboard(scores)}
