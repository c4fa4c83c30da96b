"""What operators log, and where it goes."""

import pytest

from flowc import log_artifact, log_metric, log_note
from flowc.plan import sink


class Heard(list):
    def metric(self, *told):
        self.append(told)

    def note(self, *told):
        self.append(told)

    def artifact(self, *told):
        self.append(told)

    def close(self):
        self.append("closed")


@pytest.fixture
def heard():
    heard = Heard()
    sink.begin(lambda: heard)
    yield heard
    sink.end()


def test_what_is_logged_goes_to_the_sink(heard):
    import numpy as np

    log_metric("loss", np.float32(0.5), step=np.int64(3))
    log_metric("loss", True)
    log_note("two rows")
    log_artifact("confusion", [[1]])
    assert heard == [("loss", 0.5, 3), ("loss", 1.0, None), ("two rows",), ("confusion", [[1]])]
    assert type(heard[0][1]) is float


def test_a_sink_is_made_when_it_is_needed_and_closed_once():
    made = []

    def make():
        made.append(Heard())
        return made[-1]

    sink.begin(make)
    assert made == []
    log_note("a")
    log_note("b")
    sink.end()
    sink.end()
    log_note("c")
    assert made == [[("a",), ("b",), "closed"]]


def test_outside_of_a_run_nothing_is_kept():
    log_metric("loss", 0.5)
    log_note("two rows")
    log_artifact("confusion", [[1]])


@pytest.mark.parametrize(
    ("call", "error", "said"),
    [
        (lambda: log_metric("loss", "much"), ValueError, "could not convert"),
        (lambda: log_metric("loss", [1]), TypeError, "must be"),
        (lambda: log_metric("", 1), ValueError, "1 to 200 characters"),
        (lambda: log_metric("a\nb", 1), ValueError, "one line"),
        (lambda: log_metric(3, 1), TypeError, "a name is a `str`, got `int`"),
        (lambda: log_artifact("x" * 201, 1), ValueError, "1 to 200"),
        (lambda: log_note(3), TypeError, "a note is a `str`, got `int`"),
    ],
)
def test_what_makes_no_sense_is_an_error_in_a_run_and_outside(call, error, said):
    with pytest.raises(error, match=said):
        call()
