"""Shared memory: only bare names of the server's own files, and never more than there is of them."""

import os

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.shell.wire.board import Board
from flowserve.shell.wire.shared_memory import Registered, SharedMemory


@pytest.fixture
def memory(tmp_path):
    (tmp_path / "shm").mkdir()
    (tmp_path / "shm" / "seen").write_bytes(bytes(range(16)))
    (tmp_path / "outside").write_bytes(bytes(16))
    (tmp_path / "shm" / "link").symlink_to(tmp_path / "outside")
    (tmp_path / "shm" / "folder").mkdir()
    os.mkfifo(tmp_path / "shm" / "pipe")
    return SharedMemory(Board(tmp_path / "board"), tmp_path / "shm")


def test_read_and_write_within_a_region(memory, tmp_path):
    memory.register("r", "/seen", 4, 8)
    region = memory.get("r")
    assert region.read(2, 3) == bytes([6, 7, 8])
    region.write(6, b"ab")
    assert (tmp_path / "shm" / "seen").read_bytes()[10:12] == b"ab"
    assert memory.status("r") == [Registered("r", "/seen", 4, 8)]


@pytest.mark.parametrize(
    "key",
    [
        "/../outside",
        "../outside",
        "..",
        "/",
        "",
        "//seen",
        "/folder/..",
        "a\0b",
        "link",
        "/folder",
        "/pipe",
        "x",
    ],
)
def test_other_keys(memory, key):
    with pytest.raises(Refused, match="FS231"):
        memory.register("r", key, 0, 0)
    assert memory.status() == []


@pytest.mark.parametrize(("offset", "size"), [(0, 17), (17, 0), (2**62, 16)])
def test_more_than_there_is(memory, offset, size):
    with pytest.raises(Refused, match="must be within the 16 bytes"):
        memory.register("r", "/seen", offset, size)


def test_a_file_with_a_hole_is_not_copied_whole(memory, tmp_path):
    os.truncate(tmp_path / "shm" / "seen", 2**40)
    with pytest.raises(Refused, match="`byte_size` must be at most 1073741824"):
        memory.register("r", "/seen", 0, 2**40)


def test_bytes_outside_of_a_region(memory):
    memory.register("r", "/seen", 4, 8)
    for offset, size in ((0, 9), (8, 1), (2**63, 1)):
        with pytest.raises(Refused, match="not within the 8 bytes"):
            memory.get("r").read(offset, size)
    with pytest.raises(Refused, match="not within the 8 bytes"):
        memory.get("r").write(7, b"ab")


def test_memory_that_its_owner_cut_short(memory, tmp_path):
    memory.register("r", "/seen", 0, 16)
    os.truncate(tmp_path / "shm" / "seen", 4)
    with pytest.raises(Refused, match="cut short"):
        memory.get("r").read(0, 16)
    with pytest.raises(Refused, match="cut short"):
        memory.get("r").write(0, bytes(16))


def test_a_region_that_is_in_use_outlives_its_name(memory):
    memory.register("r", "/seen", 0, 16)
    with pytest.raises(Refused, match="registered already"):
        memory.register("r", "/seen", 0, 16)
    region = memory.get("r")
    memory.unregister("r")
    memory.unregister("r")
    assert region.read(0, 2) == b"\0\1"
    with pytest.raises(Refused, match="FS232"):
        memory.get("r")


def opened(folder):
    """How many files below a folder this process has open."""
    links = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
    return sum(os.path.realpath(link).startswith(f"{folder}/") for link in links)


def test_files_are_closed(memory, tmp_path):
    for index in range(20):
        memory.register(f"r{index}", "/seen", 0, 16)
        memory.get(f"r{index}").read(0, 1)
    memory.unregister()
    assert opened(tmp_path) == 0
