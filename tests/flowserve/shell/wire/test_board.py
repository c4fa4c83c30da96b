"""Notes that requests leave for all processes of a server."""

import multiprocessing

import pytest

from flowserve.shell.wire.board import Board


@pytest.fixture
def board(tmp_path):
    return Board(tmp_path / "board")


def test_others_see_it_at_once(board, tmp_path):
    other = Board(tmp_path / "board")
    assert other.get("a") is None
    assert board.add("a", b"1")
    assert other.get("a").text == b"1"
    board.put("a", b"2")
    assert (other.get("a").text, board.get("a").text) == (b"2", b"2")
    other.remove("a")
    assert (board.get("a"), board.texts()) == (None, [])


def test_one_that_is_there_stays(board):
    assert board.add("a", b"1")
    assert not board.add("a", b"2")
    assert board.get("a").text == b"1"


def test_it_is_the_same_note_until_there_is_another(board):
    board.put("a", b"1")
    note = board.get("a")
    assert board.get("a") is note
    board.put("a", b"1")
    assert board.get("a") is not note


def test_names_may_be_any_text(board):
    names = ["", ".", "../a", "a/b", "\0", "x" * 5000, "\ud800"]
    for number, name in enumerate(names):
        board.put(name, str(number).encode())
    assert [board.get(name).text for name in names] == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]
    assert sorted(board.texts()) == [b"0", b"1", b"2", b"3", b"4", b"5", b"6"]


def test_what_is_not_there_can_be_removed(board):
    board.remove("a")
    assert board.texts() == []


def test_without_a_folder_it_has_its_own():
    one, other = Board(), Board()
    one.put("a", b"1")
    assert other.get("a") is None


def test_of_many_at_once_one_adds(board, tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        for name in map(str, range(50)):
            assert sum(pool.starmap(_adds, [(tmp_path / "board", name)] * 4)) == 1


def _adds(folder, name):
    return Board(folder).add(name, b"mine")
