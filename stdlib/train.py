"""Operators that train classifiers.

The same data, settings and seed give the same model, bit for bit, on the same kind of processor with as many
threads; each operator asks for one core. What they print goes to their node's log. All raise `ValueError`
for senseless settings, and for data in which a class has no rows.
"""

from typing import TypeVar

from flowc import operator
from flowc.types import Schema
from stdlib.types import Dataset, Model

C = TypeVar("C", bound=Schema)


@operator(memory="512MB")
def decision_tree(
    data: Dataset[C], max_depth: int | None = None, min_leaf_rows: int = 1, seed: int = 0
) -> Model[C]:
    """A decision tree that splits by Gini impurity, until leaves are pure or limits met (scikit-learn)."""
    import stdlib.models.trees as family

    return family.fit_tree(data, max_depth, min_leaf_rows, seed)


@operator(memory="512MB")
def random_forest(
    data: Dataset[C], trees: int = 100, max_depth: int | None = None, min_leaf_rows: int = 1, seed: int = 0
) -> Model[C]:
    """A mean of decision trees, each fitted on resampled rows (scikit-learn)."""
    import stdlib.models.trees as family

    return family.fit_forest(data, trees, max_depth, min_leaf_rows, seed)


@operator(memory="512MB")
def logistic_regression(
    data: Dataset[C], regularisation: float = 1.0, max_iterations: int = 1000
) -> Model[C]:
    """A multinomial logistic regression on standardised columns, with an L2 penalty (scikit-learn)."""
    import stdlib.models.linear as family

    return family.fit(data, regularisation, max_iterations)


@operator(memory="1GB")
def mlp(
    data: Dataset[C],
    width: int = 32,
    layers: int = 1,
    epochs: int = 30,
    learning_rate: float = 0.01,
    batch_size: int = 32,
    seed: int = 0,
) -> Model[C]:
    """A perceptron with `layers` hidden layers of `width` units, on standardised columns (PyTorch, Adam)."""
    import stdlib.models.mlp as family

    return family.fit(data, width, layers, epochs, learning_rate, batch_size, seed)


@operator(memory="1GB")
def cnn(
    data: Dataset[C],
    channels: int = 16,
    epochs: int = 15,
    learning_rate: float = 0.002,
    batch_size: int = 32,
    seed: int = 0,
) -> Model[C]:
    """A small convolutional network, for rows that are square images of one channel (PyTorch, Adam)."""
    import stdlib.models.cnn as family

    return family.fit(data, channels, epochs, learning_rate, batch_size, seed)
