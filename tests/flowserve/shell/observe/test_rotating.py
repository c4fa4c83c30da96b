"""Files that are bounded, with several writers, and on a disk that is full."""

import errno
import os

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.shell.observe.rotating import Rotating, check_writable


def texts(path):
    found = sorted(path.parent.glob(f"{path.name}*"))
    return {of.name: of.read_text() for of in found}


def test_a_full_file_is_put_aside_and_the_oldest_goes(tmp_path):
    path = tmp_path / "log"
    file = Rotating(path, 10, 3)
    for number in range(9):
        file.write(f"line{number}\n".encode())
    assert texts(path) == {"log": "line8\n", "log.1": "line7\n", "log.2": "line6\n"}
    file.close()


def test_one_file_alone_begins_anew(tmp_path):
    file = Rotating(tmp_path / "log", 10, 1)
    file.write(b"12345\n")
    file.write(b"67890\n")
    assert texts(tmp_path / "log") == {"log": "67890\n"}


def test_a_write_larger_than_a_file_is_written_whole(tmp_path):
    file = Rotating(tmp_path / "log", 4, 2)
    file.write(b"123456789\n")
    file.write(b"1\n")
    assert texts(tmp_path / "log") == {"log": "1\n", "log.1": "123456789\n"}


def test_writers_share_a_file_and_rotate_it_once(tmp_path):
    path = tmp_path / "log"
    writers = [Rotating(path, 100, 100) for _ in range(3)]
    for number in range(300):
        writers[number % 3].write(f"{number:04}\n".encode())
    found = texts(path)
    assert sorted("".join(found.values()).split()) == [f"{number:04}" for number in range(300)]
    assert all(len(text) == 100 for text in found.values())


def test_what_is_renamed_or_removed_from_outside_is_begun_anew(tmp_path):
    path = tmp_path / "log"
    file = Rotating(path, 1000, 2)
    file.write(b"1\n")
    path.rename(tmp_path / "kept")
    file.write(b"2\n")
    path.unlink()
    file.write(b"3\n")
    assert (tmp_path / "kept").read_text() == "1\n"
    assert path.read_text() == "3\n"


def test_a_line_torn_by_a_full_disk_is_ended_when_there_is_room_again(tmp_path, monkeypatch):
    file = Rotating(tmp_path / "log", 1000, 2)
    file.write(b"whole\n")
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: real(descriptor, data[:3]))
    with pytest.raises(OSError, match="3 of 5 bytes"):
        file.write(b"torn\n")
    monkeypatch.setattr(os, "write", real)
    file.write(b"whole\n")
    assert (tmp_path / "log").read_text() == "whole\ntor\nwhole\n"


def test_a_full_disk():
    with pytest.raises(OSError, match="No space left") as raised:
        Rotating("/dev/full", 1000, 2).write(b"line\n")
    assert raised.value.errno == errno.ENOSPC


def test_a_log_that_cannot_be_written_is_refused(tmp_path):
    check_writable(str(tmp_path / "log"))
    with pytest.raises(Refused, match="FS291"):
        check_writable(str(tmp_path))
    with pytest.raises(Refused, match="FS291"):
        check_writable(str(tmp_path / "no" / "log"))
