"""Decision trees and random forests, fitted by scikit-learn.

State: the nodes of all trees in one table, a row a node, tree after tree.

    roots          int64   [trees]            the row of each tree's root
    column         int64   [nodes]            which feature an inner node asks about; -1 for a leaf
    threshold      float32 [nodes]            `feature <= threshold` goes left
    left, right    int64   [nodes]            the rows of the children; a leaf's are its own
    probabilities  float64 [nodes, classes]   of the training rows that came by
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import helper

from flowc import Array
from stdlib.models import signature
from stdlib.models.checks import require_every_class, require_positive, require_seed
from stdlib.types import Dataset, Model


def fit_tree(data: Dataset[Any], max_depth: int | None, min_leaf_rows: int, seed: int) -> Model[Any]:
    """Fit one tree; `ValueError` for senseless data or settings."""
    from sklearn.tree import DecisionTreeClassifier

    _check(data, max_depth, min_leaf_rows, seed)
    fitted = DecisionTreeClassifier(max_depth=max_depth, min_samples_leaf=min_leaf_rows, random_state=seed)
    fitted.fit(data.features, data.target)
    return _model(data, [fitted])


def fit_forest(
    data: Dataset[Any], trees: int, max_depth: int | None, min_leaf_rows: int, seed: int
) -> Model[Any]:
    """Fit `trees` trees on resampled rows; `ValueError` for senseless data or settings."""
    from sklearn.ensemble import RandomForestClassifier

    require_positive(trees=trees)
    _check(data, max_depth, min_leaf_rows, seed)
    fitted = RandomForestClassifier(
        n_estimators=trees, max_depth=max_depth, min_samples_leaf=min_leaf_rows, random_state=seed
    )
    fitted.fit(data.features, data.target)
    return _model(data, fitted.estimators_)


def predict(model: Model[Any], features: Array) -> Array:
    """The mean over the trees of the probabilities where each row ends, float64 [rows, classes]."""
    column, threshold, left, right = (model.state[name] for name in ("column", "threshold", "left", "right"))
    rows = np.arange(len(features))
    total = np.zeros((len(features), len(model.classes)))
    for root in model.state["roots"]:
        at = np.full(len(features), root)
        # A leaf asks about column -1, any answer to which stays where it is: no row needs to be set apart.
        while (column[at] >= 0).any():
            at = np.where(features[rows, column[at]] <= threshold[at], left[at], right[at])
        total += model.state["probabilities"][at]
    return total / len(model.state["roots"])


def to_onnx(model: Model[Any]) -> onnx.ModelProto:
    """TreeEnsembleRegressor, which sums up float32 shares of `probability / trees`, and ArgMax.

    Not TreeEnsembleClassifier: of two classes onnxruntime takes the second's votes for a score, gives -1 as
    a probability and labels by its sign.
    """
    state, classes = model.state, len(model.classes)
    roots, column = state["roots"], state["column"]
    leaf = column < 0
    tree = np.searchsorted(roots, np.arange(len(column)), side="right") - 1
    number = np.arange(len(column)) - roots[tree]  # of a node within its tree
    shares = np.where(leaf[:, None], state["probabilities"], 0) / len(roots)
    giver, given = np.nonzero(shares)
    ensemble = helper.make_node(
        "TreeEnsembleRegressor",
        [signature.INPUT],
        [signature.PROBABILITIES],
        domain="ai.onnx.ml",
        n_targets=classes,
        nodes_treeids=tree,
        nodes_nodeids=number,
        nodes_modes=np.where(leaf, "LEAF", "BRANCH_LEQ").tolist(),
        nodes_featureids=np.maximum(column, 0),
        nodes_values=state["threshold"],
        nodes_truenodeids=np.where(leaf, 0, state["left"] - roots[tree]),
        nodes_falsenodeids=np.where(leaf, 0, state["right"] - roots[tree]),
        target_treeids=tree[giver],
        target_nodeids=number[giver],
        target_ids=given,
        target_weights=shares[giver, given],
    )
    label = helper.make_node("ArgMax", [signature.PROBABILITIES], [signature.LABEL], axis=1, keepdims=0)
    return signature.assemble(model, [ensemble, label], {})


def _check(data: Dataset[Any], max_depth: int | None, min_leaf_rows: int, seed: int) -> None:
    require_positive(min_leaf_rows=min_leaf_rows)
    if max_depth is not None:
        require_positive(max_depth=max_depth)
    require_seed(seed)
    require_every_class(data)


def _model(data: Dataset[Any], estimators: Sequence[Any]) -> Model[Any]:
    """The model of fitted scikit-learn trees."""
    trees = [estimator.tree_ for estimator in estimators]
    roots = np.cumsum([0, *(tree.node_count for tree in trees[:-1])])
    tables = [_nodes(tree, root) for tree, root in zip(trees, roots, strict=True)]
    state = {
        "roots": roots,
        **{name: np.concatenate([table[name] for table in tables]) for name in tables[0]},
    }
    depth = max(tree.max_depth for tree in trees)
    print(f"{len(trees)} tree(s), {len(state['column'])} nodes, depth {depth}, {data.rows} rows")
    return Model("trees", state, data.feature_names, data.classes)


def _nodes(tree: Any, root: int) -> dict[str, Array]:
    """The nodes of one scikit-learn tree as a table whose first row will be row `root` of all."""
    leaf, own = tree.children_left < 0, np.arange(tree.node_count)
    return {
        "column": np.where(leaf, -1, tree.feature),
        "threshold": rounded_down(tree.threshold),
        "left": root + np.where(leaf, own, tree.children_left),
        "right": root + np.where(leaf, own, tree.children_right),
        "probabilities": tree.value[:, 0, :],
    }


def rounded_down(thresholds: Array) -> Array:
    """The largest float32 not above each float64: `x <= threshold` stays the same for every float32 `x`."""
    nearest = thresholds.astype(np.float32)
    return np.where(nearest > thresholds, np.nextafter(nearest, np.float32(-np.inf)), nearest)
