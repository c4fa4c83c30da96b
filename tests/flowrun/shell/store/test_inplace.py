"""Arrays that lie in the store while they are filled."""

import gc
import os

import numpy as np
import pytest

import flowc
from flowc.plan import runtime
from flowrun.shell.store.artifacts import Store


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "artifacts")


def filled(store, shape=(300, 7), dtype="float32"):
    array = store.empty(shape, dtype)
    array[...] = np.arange(array.size).reshape(shape)
    return array


def copies(store, monkeypatch):
    """What is written to the store from now on by copying."""
    written = []
    add = store.content.add
    monkeypatch.setattr(
        store.content, "add", lambda pieces: written.append(sum(map(len, pieces))) or add(pieces)
    )
    return written


def partials(store):
    return list(store.folder.glob(".partial-*"))


class TestAnArray:
    def test_begins_with_zeros_and_can_be_written(self, store):
        array = store.empty((3, 4), "int16")
        assert (array.shape, array.dtype, array.any(), array.flags.writeable) == (
            (3, 4),
            "int16",
            False,
            True,
        )
        assert array.flags.aligned

    @pytest.mark.parametrize("shape", [5, (2, 3), (4, 1, 2)])
    @pytest.mark.parametrize("dtype", ["float64", "uint8", "datetime64[s]", [("a", "i4"), ("b", "f8")]])
    def test_is_the_same_content_as_any_other(self, store, shape, dtype, tmp_path):
        array = store.empty(shape, dtype)
        array[...] = np.ones(shape).astype(dtype) if isinstance(dtype, str) else (1, 2.5)
        plain = array.copy()
        assert store.put(array) == Store(tmp_path / "other").put(plain)
        np.testing.assert_array_equal(store.get(store.put(plain).source), plain)

    def test_is_not_copied(self, store, monkeypatch):
        written = copies(store, monkeypatch)
        array = filled(store)
        inode = partials(store)[0].stat().st_ino
        artifact = store.put({"x": array, "n": 1})
        assert sum(written) < 100
        assert inode in [path.stat().st_ino for path in store.folder.glob("*/*")]
        assert store.is_sound(artifact)
        assert partials(store) == []

    def test_what_is_written_to_it_later_is_not_in_the_artifact(self, store):
        array = filled(store)
        view = array[:10]
        artifact = store.put(array)
        array[0, 0], view[1, 1] = 77, 78
        assert (array[0, 0], array[1, 1]) == (77, 78)
        back = store.get(artifact.source)
        assert (back[0, 0], back[1, 1]) == (0, 8)
        assert store.is_sound(artifact)

    def test_put_again_is_put_as_it_is_then(self, store):
        array = filled(store)
        first = store.put(array)
        array[0, 0] = 77
        second = store.put(array)
        assert [store.get(a.source)[0, 0] for a in (first, second)] == [0, 77]

    def test_twice_in_one_value(self, store):
        array = filled(store)
        back = store.get(store.put([array, array]).source)
        np.testing.assert_array_equal(back[0], array)
        np.testing.assert_array_equal(back[1], array)

    def test_reshaped_it_is_still_not_copied(self, store, monkeypatch):
        written = copies(store, monkeypatch)
        back = store.get(store.put({"x": filled(store).reshape(7, 300)}).source)["x"]
        assert back.shape == (7, 300)
        assert back[0, 299] == 299
        assert sum(written) < 100

    @pytest.mark.parametrize(
        "part",
        [
            lambda a: a[:-1],
            lambda a: a[1:],
            lambda a: a[::2],
            lambda a: a[:, 0],
            lambda a: a.T,
            lambda a: a[0:0],
            lambda a: a[:1].view("uint8"),
            lambda a: np.broadcast_to(a[0], a.shape),
        ],
        ids=["but the last", "but the first", "every other", "a column", "turned", "none", "bytes", "wide"],
    )
    def test_a_part_is_not_mistaken_for_the_whole(self, store, part):
        found = part(filled(store))
        expected = found.copy()
        back = store.get(store.put(found).source)
        np.testing.assert_array_equal(back, expected)
        assert back.shape == expected.shape
        assert partials(store) == []

    def test_equal_to_one_that_is_there_leaves_one_file(self, store):
        first, second = (store.put(filled(store)) for _ in range(2))
        assert first == second
        assert len(list(store.folder.glob("*/*"))) == 1
        assert partials(store) == []

    def test_that_nobody_wants_leaves_nothing(self, store):
        filled(store)
        gc.collect()
        assert partials(store) == []

    def test_that_is_not_returned_leaves_nothing(self, store):
        array = filled(store)
        store.put("something else")
        assert partials(store) == []
        array[0, 0] = 77
        assert store.get(store.put(array).source)[0, 0] == 77

    @pytest.mark.parametrize("shape", [0, (0, 4)])
    def test_may_be_empty(self, store, shape):
        assert store.get(store.put(store.empty(shape)).source).size == 0

    def test_of_what_has_no_room(self, store, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, "posix_fallocate", full)
        with pytest.raises(OSError, match="No space"):
            store.empty(1000)
        assert partials(store) == []

    def test_as_a_tensor(self, store, monkeypatch):
        torch = pytest.importorskip("torch")
        written = copies(store, monkeypatch)
        tensor = torch.from_numpy(filled(store))
        tensor += 1
        back = store.get(store.put({"w": tensor}).source)
        assert back["w"][0, 0] == 1
        assert sum(written) < 100


def test_a_large_array_of_another_order_is_copied_once_into_its_file(store, monkeypatch):
    written = copies(store, monkeypatch)
    array = np.asfortranarray(np.arange(600_000.0).reshape(600, 1000))
    np.testing.assert_array_equal(store.get(store.put({"x": array}).source)["x"], array)
    assert sum(written) < 100


def test_outside_of_a_run_it_is_an_array_of_numpy():
    assert flowc.empty((2, 3), "int8").tolist() == [[0] * 3] * 2


def test_in_a_run_it_is_of_the_store(store, monkeypatch):
    monkeypatch.setattr(runtime, "empty", store.empty)
    assert isinstance(flowc.empty(10).base, np.ndarray)
    array = flowc.empty(10)
    assert len(partials(store)) == 1
    assert array.dtype == "float64"
