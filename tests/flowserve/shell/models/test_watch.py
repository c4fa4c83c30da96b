"""A repository that changes while it is looked at."""

import os
import shutil

import pytest
from onnx_models import negative

from flowserve.shell.models.repository import publish, scan
from flowserve.shell.models.watch import Watch


@pytest.fixture
def models(tmp_path):
    publish(tmp_path, "m", negative())
    publish(tmp_path, "n", negative())
    return tmp_path


@pytest.fixture
def watch(models):
    watch = Watch(models, scan(models))
    watch.look()  # what was there at the start
    return watch


def test_nothing_has_changed(watch):
    assert watch.look() == (None, [])


def test_what_comes_and_goes_is_seen(models, watch):
    shutil.copytree(models / "m" / "1", models / "m" / "2")
    publish(models, "new", negative())
    shutil.rmtree(models / "n")
    refresh, problems = watch.look()
    assert {name: sorted(of) for name, of in refresh.found.items()} == {"m": [1, 2], "n": [], "new": [1]}
    assert problems == []
    watch.look()  # a version that is new is looked at once more
    assert watch.look() == (None, [])


def test_a_file_that_is_replaced_in_place_is_seen_when_it_is_asked_for(models, watch):
    before, _ = watch.look("m")
    model = models / "m" / "1" / "model.onnx"
    os.utime(model, (1, 1))
    assert watch.look() == (None, [])
    after, _ = watch.look("m")
    assert after.found["m"].keys() == before.found["m"].keys()
    assert after.found != before.found


def test_a_wrong_folder_is_told_of_once(models, watch):
    (models / "m" / "config.pbtxt").write_text("name: ")
    os.utime(models / "m", (1, 1))
    refresh, problems = watch.look()
    assert refresh is None
    assert [problem.code for problem in problems] == ["FS102"]
    assert watch.look() == (None, [])


def test_a_repository_that_is_away_takes_nothing_with_it(models, watch):
    models.rename(models.parent / "away")
    refresh, problems = watch.look()
    assert refresh is None
    assert [problem.code for problem in problems] == ["FS101"]
    (models.parent / "away").rename(models)
    assert watch.look() == (None, [])
