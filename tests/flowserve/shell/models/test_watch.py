"""What a look at a repository reads again."""

import os
import time

from flowserve.shell.models import watch as watch_module
from flowserve.shell.models.repository import scan
from flowserve.shell.models.watch import Watch

LATER_NS = 10**12


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


def test_what_the_scan_found_is_not_read_again_unless_it_may_have_changed_meanwhile(tmp_path, monkeypatch):
    put(tmp_path, "a")
    put(tmp_path, "b")
    folders = scan(tmp_path)
    assert read_by(monkeypatch, Watch(tmp_path, folders, time.time_ns())) == ["a", "b"], "they are new"
    watch = Watch(tmp_path, folders, time.time_ns() + LATER_NS)
    assert read_by(monkeypatch, watch) == []
    put(tmp_path, "c")
    assert read_by(monkeypatch, watch) == ["c"]


def test_a_folder_that_took_the_place_of_another_is_read(tmp_path, monkeypatch):
    put(tmp_path / "models", "a")
    put(tmp_path / "other", "a")
    models = tmp_path / "models"
    watch = Watch(models, scan(models), time.time_ns() + LATER_NS)
    watch.look()
    times = models.joinpath("a").stat()
    models.joinpath("a").rename(tmp_path / "gone")
    tick(tmp_path)
    os.utime(tmp_path / "other" / "a", ns=(times.st_atime_ns, times.st_mtime_ns))
    (tmp_path / "other" / "a").rename(models / "a")
    assert read_by(monkeypatch, watch) == ["a"]
