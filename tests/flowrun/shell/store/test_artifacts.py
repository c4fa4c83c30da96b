"""The artifact store: what comes back is what was put, once, whole, or not at all."""

import dataclasses
import datetime
import enum
import math
import multiprocessing
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pytest
from blake3 import blake3

from flowc.hints import Array
from flowrun.shell.store.artifacts import INLINE_BYTES, Damaged, Missing, Store, Unstorable, convert


@dataclasses.dataclass
class Table:
    rows: Array
    names: list[str]


class Split(NamedTuple):
    train: Table
    test: Table


class Point(msgspec.Struct):
    x: float
    y: float = 0


class Colour(enum.Enum):
    RED = "red"


BIG = "x" * INLINE_BYTES  # with its length, too much to lie in a log


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "artifacts")


def files(store):
    return sorted(path for path in store.folder.rglob("*") if path.is_file() and path.name != ".lock")


def table(n):
    return Table(np.arange(n), [f"row {i} {BIG}" for i in range(n)])


def damage(path, change):
    path.chmod(0o644)
    path.write_bytes(change(path.read_bytes()))


class TestValues:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            -(2**63),
            2**64 - 1,
            0.1,
            math.inf,
            "text äöü",
            "",
            b"\x00\xff",
            [],
            {},
            [1, [2.5, None]],
            {"b": 1, "a": [True]},
            {1: "one", 2: "two"},
            {(1, 2): "pair"},
            datetime.datetime(2024, 1, 31, tzinfo=datetime.UTC),
        ],
    )
    def test_come_back_as_they_are(self, store, value):
        back = store.get(store.put(value).source)
        assert back == value
        assert type(back) is type(value)

    def test_nan(self, store):
        assert math.isnan(store.get(store.put(math.nan).source))

    @pytest.mark.parametrize(
        ("value", "of"),
        [
            (Point(1.5), Point),
            ([Point(1), Point(2)], list[Point]),
            ({"a": Point(1)}, dict[str, Point]),
            ({3, 1, 2}, set[int]),
            ((1, "a"), tuple[int, str]),
            (Colour.RED, Colour),
            (datetime.date(2024, 1, 31), datetime.date),
            (Path("some/where"), Path),
            (5, float),
            (None, Point | None),
        ],
    )
    def test_come_back_as_the_type_that_is_asked_for(self, store, value, of):
        assert store.get(store.put(value).source, of=of) == value

    def test_another_type_is_refused(self, store):
        with pytest.raises(msgspec.ValidationError, match="Expected `int`, got `str`"):
            store.get(store.put("x").source, of=int)

    @pytest.mark.parametrize(
        ("scalar", "plain"),
        [
            (np.float64(1.5), 1.5),
            (np.float32(0.5), 0.5),
            (np.int8(-3), -3),
            (np.uint64(2**64 - 1), 2**64 - 1),
            (np.bool_(True), True),
            (np.str_("x"), "x"),
            (np.bytes_(b"x"), b"x"),
        ],
    )
    def test_numpy_scalars_become_plain(self, store, scalar, plain):
        back = store.get(store.put([scalar]).source)[0]
        assert back == plain
        assert type(back) is type(plain)

    def test_structures_of_arrays(self, store):
        back = store.get(store.put(Split(table(3), table(1))).source, of=Split)
        assert isinstance(back, Split)
        assert back.train.rows.tolist() == [0, 1, 2]
        assert back.test.names == [f"row 0 {BIG}"]

    def test_a_part_by_field_and_by_position(self, store):
        digest = store.put(Split(table(3), table(1))).source
        assert store.get(digest, [1, "names"]) == [f"row 0 {BIG}"]
        assert store.get(digest, [0], of=Table).rows.tolist() == [0, 1, 2]

    def test_a_part_that_is_not_there(self, store):
        digest = store.put({"a": [1]}).source
        for path in (["b"], ["a", 1], ["a", "x"], ["a", 0, "x"]):
            with pytest.raises(Missing, match="has no field"):
                store.get(digest, path)

    def test_only_the_arrays_of_the_part_are_opened(self, store):
        digest = store.put({"big": np.arange(9), "small": 1}).source
        max(files(store), key=lambda path: path.stat().st_size).unlink()
        assert store.get(digest, ["small"]) == 1

    @pytest.mark.parametrize(
        ("value", "why"),
        [
            (lambda: 1, "a `builtins.function` cannot be stored"),
            ([{"deep": object()}], "a `builtins.object` cannot be stored"),
            (1j, "a `builtins.complex` cannot be stored"),
            (np.complex64(1j), "a `numpy.complex64` cannot be stored"),
            (np.longdouble(1), "cannot be stored"),
            (np.datetime64("2024-01-01"), "a `numpy.datetime64` cannot be stored"),
            (np.array([None]), "dtype `object`"),
            (np.ma.array([1, 2], mask=[0, 1]), "a masked array"),
            (2**70, "int"),
            ("\ud800", "surrogates"),
        ],
    )
    def test_what_cannot_be_stored_is_named(self, store, value, why):
        with pytest.raises(Unstorable, match=why):
            store.put(value)

    def test_nor_a_value_that_contains_itself(self, store):
        value: list[Any] = []
        value.append(value)
        with pytest.raises(Unstorable, match="recursion"):
            store.put(value)

    def test_an_artifacts_size_is_that_of_its_files(self, store):
        for value in ({"a": np.arange(100)}, [np.arange(101), {1: "a key that cannot be sorted", "b": 2}]):
            before = sum(path.stat().st_size for path in files(store))
            artifact = store.put(value)
            stored = sum(path.stat().st_size for path in files(store)) - before
            assert artifact.bytes == stored + len(artifact.data)


class TestSmallValues:
    def test_need_no_file(self, store):
        artifact = store.put({"loss": 0.5})
        assert artifact.source == artifact.data == msgspec.msgpack.encode({"loss": 0.5})
        assert artifact.bytes == len(artifact.data)
        assert files(store) == []

    def test_have_the_same_hash_as_they_would_have_as_a_file(self, store):
        artifact = store.put([1, 2])
        assert artifact.hash == blake3(artifact.data).hexdigest()

    def test_of_what_has_arrays_only_those_have_files(self, store):
        artifact = store.put({"a": np.arange(9), "n": 1})
        assert artifact.data
        assert len(files(store)) == 1
        files(store)[0].unlink()
        assert not store.is_sound(artifact)

    def test_what_is_larger_has_a_file(self, store):
        artifact = store.put("x" * (INLINE_BYTES - 2))
        assert artifact.data == b""
        assert artifact.source == artifact.hash
        assert store.path(artifact.hash).is_file()

    def test_just_fit(self, store):
        assert store.put("x" * (INLINE_BYTES - 3)).data

    def test_damage_is_noticed(self, store):
        artifact = store.put(1)
        assert store.is_sound(artifact)
        assert not store.is_sound(msgspec.structs.replace(artifact, data=b"\x02"))


class TestArrays:
    @pytest.mark.parametrize(
        "array",
        [
            np.arange(6, dtype="float32").reshape(2, 3),
            np.asfortranarray(np.arange(6).reshape(2, 3)),
            np.arange(10)[::3],
            np.array(3.5),
            np.array([]),
            np.zeros((0, 4), "int16"),
            np.array([True, False]),
            np.array([math.nan, -0.0]),
            np.array(["2024-01-31"], dtype="datetime64[D]"),
            np.array(["a", "longer"]),
            np.array([b"a"]),
            np.array([(1, 2.5)], dtype=[("n", "i4"), ("x", "f8")]),
            np.array([1, 2], dtype=">i4"),
            np.array([1 + 2j]),
        ],
        ids=lambda array: f"{array.dtype}{list(array.shape)}",
    )
    def test_come_back_equal(self, store, array):
        back = store.get(store.put(array).source, of=Array)
        np.testing.assert_array_equal(back, array)
        assert (back.dtype, back.shape) == (array.dtype, array.shape)

    def test_are_mapped_and_read_only(self, store):
        back = store.get(store.put(np.arange(1000)).source)
        assert type(back) is np.ndarray
        assert isinstance(back.base, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            back[0] = 1

    def test_of_any_layout_are_the_same_content(self, store):
        c, fortran = np.arange(6).reshape(2, 3), np.asfortranarray(np.arange(6).reshape(2, 3))
        assert store.put(c) == store.put(fortran)

    def test_of_another_shape_or_dtype_are_not(self, store):
        arrays = [np.zeros(4, "i4"), np.zeros((2, 2), "i4"), np.zeros(4, "f4"), np.zeros(4, "<u4")]
        assert len({store.put(array).hash for array in arrays}) == 4

    def test_tensors(self, store):
        torch = pytest.importorskip("torch")
        weights = torch.arange(3.0, requires_grad=True)
        back = store.get(store.put({"w": weights}).source, of=dict[str, torch.Tensor])["w"]
        assert back.tolist() == [0, 1, 2]
        back += 1  # tensors cannot be read-only: this one is the reader's own
        assert store.get(store.put({"w": weights}).source)["w"].tolist() == [0, 1, 2]


class TestFiles:
    def test_equal_content_is_stored_once(self, store):
        assert store.put(table(3)) == store.put(table(3))
        assert len(files(store)) == 2

    def test_the_order_of_keys_does_not_matter(self, store):
        assert store.put({"a": 1, "b": {2, 1}}) == store.put({"b": {1, 2}, "a": 1})

    def test_the_name_is_the_hash_of_the_content(self, store):
        store.put(table(3))
        for path in files(store):
            assert blake3(path.read_bytes()).hexdigest() == path.parent.name + path.name

    def test_they_cannot_be_written_to(self, store):
        store.put(table(3))
        assert {path.stat().st_mode & 0o777 for path in files(store)} == {0o444}

    @pytest.mark.parametrize("call", ["fsync", "rename"])
    def test_a_write_that_fails_leaves_nothing(self, store, monkeypatch, call):
        def full(*_):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            store.put(BIG)
        assert files(store) == []

    def test_a_crash_while_writing_leaves_no_artifact(self, store):
        """What it leaves is not under a hash, and does not keep the artifact from being written later."""
        child = multiprocessing.get_context("fork").Process(target=_die_before_the_rename, args=(store,))
        child.start()
        child.join()
        assert child.exitcode == 9
        assert [path.name[:9] for path in files(store)] == [".partial-"]
        assert store.get(store.put(BIG).source) == BIG

    def test_many_processes_may_put_the_same_at_once(self, store):
        context = multiprocessing.get_context("fork")
        gate = context.Barrier(6)
        children = [context.Process(target=_put_many, args=(store, gate)) for _ in range(6)]
        for child in children:
            child.start()
        for child in children:
            child.join()
        assert [child.exitcode for child in children] == [0] * 6
        assert not [path for path in files(store) if path.name.startswith(".partial")]
        assert all(store.is_sound(store.put(table(n))) for n in range(10))


def _die_before_the_rename(store):
    os.rename = lambda *_: os._exit(9)
    store.put(BIG)


def _put_many(store, gate):
    gate.wait()
    for n in range(10):
        store.put(table(n))


class TestDamage:
    VALUE: Mapping[str, Any] = {"rows": np.arange(100), "text": BIG}
    CHANGES: Mapping[str, Any] = {
        "a flipped bit": lambda data: data[:-1] + bytes([data[-1] ^ 1]),
        "cut": lambda data: data[:-1],
        "emptied": lambda data: b"",
    }

    @pytest.fixture
    def artifact(self, store):
        return store.put(self.VALUE)

    @pytest.fixture(params=["manifest", "array"])
    def file(self, request, store, artifact):
        by_size = sorted(files(store), key=lambda path: path.stat().st_size)
        return by_size[0 if request.param == "manifest" else 1]

    @pytest.mark.parametrize("change", CHANGES)
    def test_is_noticed_when_read(self, store, artifact, file, change):
        damage(file, self.CHANGES[change])
        with pytest.raises(Damaged, match=(file.parent.name + file.name)[:12]):
            store.get(artifact.source)
        assert not store.is_sound(artifact)

    def test_a_missing_file_too(self, store, artifact, file):
        file.unlink()
        with pytest.raises(Damaged, match="No such file"):
            store.get(artifact.source)
        assert not store.is_sound(artifact)

    @pytest.mark.parametrize("change", CHANGES)
    def test_is_mended_by_storing_the_value_again(self, store, artifact, file, change):
        damage(file, self.CHANGES[change])
        assert store.put(self.VALUE) == artifact
        assert store.is_sound(artifact)
        assert store.get(artifact.source)["rows"].sum() == 4950

    def test_none(self, store, artifact):
        assert store.is_sound(artifact)


@pytest.mark.parametrize(
    ("value", "of", "expected"),
    [
        ("2024-01-02", str | datetime.date, "2024-01-02"),
        ("2024-01-02", datetime.date | str, datetime.date(2024, 1, 2)),
        ([1, 2], list[int] | set[int], [1, 2]),
    ],
)
def test_a_union_that_msgspec_cannot_tell_apart_takes_its_first_member_that_fits(value, of, expected):
    assert convert(value, of) == expected


def test_a_union_of_which_no_member_fits():
    with pytest.raises(msgspec.ValidationError):
        convert({}, str | datetime.date)
