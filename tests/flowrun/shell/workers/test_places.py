"""Folders for workers, which no two schedulers share."""

import os
import subprocess
import sys

from flowrun.shell.workers.places import Places


def test_numbers_are_used_again(tmp_path):
    places = Places(tmp_path)
    assert [places.take() for _ in range(3)] == [0, 1, 2]
    places.give_back(1)
    assert [places.take() for _ in range(2)] == [1, 3]


def test_two_at_once_have_different_ones(tmp_path):
    one, two = Places(tmp_path), Places(tmp_path)
    assert one.path(0) != two.path(0)
    one.clear()
    assert Places(tmp_path).path(0) == one.path(0)


def test_of_one_who_is_gone_however_it_ended(tmp_path):
    code = f"""
import os, pathlib
from flowrun.shell.workers.places import Places
places = Places(pathlib.Path({str(tmp_path)!r}))
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code])
    assert Places(tmp_path).path(0) == str(tmp_path / "0/0")


def test_what_lies_there_goes_at_the_end(tmp_path):
    places = Places(tmp_path)
    os.makedirs(f"{places.path(places.take())}/left/behind")
    places.clear()
    assert os.listdir(tmp_path / "0") == []


def test_what_resists_goes_as_well(tmp_path):
    places = Places(tmp_path)
    left = f"{places.path(places.take())}/left"
    os.makedirs(f"{left}/behind")
    os.symlink(tmp_path, f"{left}/to_elsewhere")
    os.chmod(left, 0)
    places.clear()
    assert os.listdir(tmp_path / "0") == []
    assert tmp_path.is_dir()
