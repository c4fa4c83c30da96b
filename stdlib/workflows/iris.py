"""Which of three species is an iris of given measures? A decision tree and a small network compete."""

from flowc import workflow
from stdlib import evaluate, export, tables, train
from stdlib.types import Published


@workflow
def iris(epochs: int = 30, test_share: float = 0.2) -> Published:
    """Train both on Fisher's flowers, compare them on rows kept aside, publish the better one as `iris`."""
    data = tables.load_iris()
    parts = tables.split(data, test_share=test_share)
    tree = train.decision_tree(parts.train)
    net = train.mlp(parts.train, epochs=epochs)
    tree_scores = evaluate.classifier(parts.test, tree)
    net_scores = evaluate.classifier(parts.test, net)
    best = evaluate.pick_best([tree, net], [tree_scores, net_scores])
    onnx = export.to_onnx(best, parts.test)
    return export.publish(onnx, name="iris")
