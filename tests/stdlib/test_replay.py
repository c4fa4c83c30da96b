"""The operator that stands for a recorded task."""

import time

import pytest

from stdlib import replay


def test_it_sleeps_as_long_as_the_task_ran_and_gives_its_id(monkeypatch):
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    assert replay.task.fn("a", 3.0) == "a"
    assert replay.task.fn("b", 3.0, 10, ["a"], speed=100) == "b"
    assert slept == [3.0, 0.03]


@pytest.mark.parametrize("speed", [0, -1, float("nan")])
def test_time_runs_forwards(speed):
    with pytest.raises(ValueError, match="speed"):
        replay.task.fn("a", 1.0, speed=speed)
