import dataclasses

import numpy as np
import pytest
from sklearn import metrics

import stdlib.models
from stdlib import evaluate
from stdlib.types import Dataset, Ranked, Scores


def scores(accuracy, log_loss):
    return Scores(rows=10, accuracy=accuracy, macro_f1=accuracy, log_loss=log_loss, confusion=[])


def test_scores_are_scikit_learns(data, trained, case):
    # Shuffled answers, so that there is something to get wrong.
    right = data[case[0]]
    wrong = Dataset(
        right.features,
        np.random.RandomState(0).permutation(right.target),
        right.feature_names,
        right.classes,
    )
    model = trained(case)
    probabilities = stdlib.models.predict(model, right.features)
    predicted = probabilities.argmax(axis=1)
    for rows in (right, wrong):
        got = evaluate.classifier(rows, model)
        assert got.rows == rows.rows
        assert got.accuracy == metrics.accuracy_score(rows.target, predicted)
        assert got.macro_f1 == pytest.approx(
            metrics.f1_score(rows.target, predicted, average="macro"), rel=1e-12
        )
        assert got.log_loss == pytest.approx(metrics.log_loss(rows.target, probabilities), rel=1e-12)
        assert got.confusion == metrics.confusion_matrix(rows.target, predicted).tolist()


def test_no_rows_are_refused(data, trained):
    iris = data["iris"]
    empty = dataclasses.replace(iris, features=iris.features[:0], target=iris.target[:0])
    with pytest.raises(ValueError, match="no rows to measure on"):
        evaluate.classifier(empty, trained(("iris", "tree")))


def test_a_model_of_other_columns_is_refused(data, trained):
    message = r"other columns \(sepal_length.*, … 4 in all\) than the data \(pixel_0_0.* 64 in all\)"
    with pytest.raises(ValueError, match=message):
        evaluate.classifier(data["digits"], trained(("iris", "tree")))


def test_a_model_of_other_classes_is_refused(data, trained):
    other = dataclasses.replace(data["iris"], classes=["a", "b", "c"])
    with pytest.raises(
        ValueError, match=r"other classes \(setosa, versicolor, virginica\) than the data \(a, b, c\)"
    ):
        evaluate.classifier(other, trained(("iris", "tree")))


def test_a_model_that_gives_no_numbers_is_refused(data, trained):
    model = trained(("iris", "logistic"))
    broken = dataclasses.replace(model, state={**model.state, "intercepts": np.full(3, np.nan)})
    with pytest.raises(ValueError, match="probabilities that are not numbers"):
        evaluate.classifier(data["iris"], broken)


def test_the_best_is_the_most_accurate_then_the_surest_then_the_first(trained):
    models = [trained(("iris", kind)) for kind in ("tree", "mlp", "logistic", "forest")]
    best = evaluate.pick_best(
        models, [scores(0.8, 0.1), scores(0.9, 0.3), scores(0.9, 0.2), scores(0.9, 0.2)]
    )
    assert best is models[2]


@pytest.mark.parametrize(("models", "measured"), [(0, 0), (1, 2), (2, 1)])
def test_there_must_be_scores_for_each_model(trained, models, measured):
    with pytest.raises(ValueError, match="as many scores as models"):
        evaluate.pick_best([trained(("iris", "tree"))] * models, [scores(1, 0)] * measured)


def test_a_leaderboard_ranks_the_best_first():
    ranked = evaluate.leaderboard({"a": scores(0.8, 0.1), "b": scores(0.9, 0.3), "c": scores(0.9, 0.2)})
    assert ranked == [
        Ranked(1, "c", 0.9, 0.9, 0.2),
        Ranked(2, "b", 0.9, 0.9, 0.3),
        Ranked(3, "a", 0.8, 0.8, 0.1),
    ]


def test_equals_are_ranked_by_name_in_whatever_order_they_come():
    ranked = evaluate.leaderboard({"b": scores(1, 0), "a": scores(1, 0)})
    assert [line.name for line in ranked] == ["a", "b"]
