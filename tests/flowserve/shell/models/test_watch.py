"""A repository that changes while it is looked at."""

import os
import shutil
import time

import pytest
from onnx_models import negative

from flowserve.shell.models import watch as watch_module
from flowserve.shell.models.repository import publish
from flowserve.shell.models.watch import Watch


def later_ns():
    """A clock by which all that a test writes was written long ago."""
    return time.time_ns() + 10**12


@pytest.fixture
def models(tmp_path):
    publish(tmp_path, "m", negative())
    publish(tmp_path, "n", negative())
    return tmp_path


@pytest.fixture
def watch(models):
    watch = Watch(models)
    watch.look()  # what was there at the start
    watch.look()  # a version that is new is looked at once more
    return watch


def put(repository, name, version=1):
    folder = repository / name / str(version)
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"")


def tick(folder):
    """Let the file system's clock go on, which stands still for some milliseconds at a time."""
    file = folder / "clock"
    file.touch()
    began_ns = file.stat().st_ctime_ns
    while file.stat().st_ctime_ns == began_ns:
        file.touch()


def read_by(monkeypatch, watch):
    """The names of the models that a look reads."""
    read = []
    look_at = watch_module.look_at
    monkeypatch.setattr(
        watch_module, "look_at", lambda repository, name: read.append(name) or look_at(repository, name)
    )
    watch.look()
    monkeypatch.undo()
    return read


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


def test_what_was_found_is_not_read_again_unless_it_may_have_changed_meanwhile(tmp_path, monkeypatch):
    put(tmp_path, "a")
    put(tmp_path, "b")
    watch = Watch(tmp_path)
    assert [read_by(monkeypatch, watch) for _ in range(3)] == [["a", "b"], ["a", "b"], []], "they are new"
    watch = Watch(tmp_path, later_ns)
    assert [read_by(monkeypatch, watch) for _ in range(2)] == [["a", "b"], []]
    put(tmp_path, "c")
    assert read_by(monkeypatch, watch) == ["c"]


def test_a_folder_that_took_the_place_of_another_is_read(tmp_path, monkeypatch):
    put(tmp_path / "models", "a")
    put(tmp_path / "other", "a")
    models = tmp_path / "models"
    watch = Watch(models, later_ns)
    watch.look()
    times = models.joinpath("a").stat()
    models.joinpath("a").rename(tmp_path / "gone")
    tick(tmp_path)
    os.utime(tmp_path / "other" / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "other" / "a").rename(models / "a")
    assert read_by(monkeypatch, watch) == ["a"]
