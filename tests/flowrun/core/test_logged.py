"""What operators logged, gathered."""

from flowrun.core.changes import Finish, Logged, Point
from flowrun.core.logged import Book, Kept, Note, Series, gather
from flowrun.core.model import Artifact


def test_of_a_metric_the_last_attempt_counts():
    one, two, three = (Point("loss", float(i), i, i) for i in range(3))
    f1 = Point("f1", "nan", -1, 3)
    found = gather(
        [
            Logged(1, "train", 1, (one, f1), ("begun",)),
            Finish(2, "failed"),
            Logged(3, "train", 2, (two,), (), {"x": Artifact("a", 1)}),
            Logged(4, "train", 2, (three,), (), {"x": Artifact("b", 1)}),
        ]
    )
    assert found == Book(
        [Series("train", 2, "loss", [two, three]), Series("train", 1, "f1", [f1])],
        [Note("train", 1, "begun")],
        [Kept("train", "x", Artifact("b", 1))],
    )
