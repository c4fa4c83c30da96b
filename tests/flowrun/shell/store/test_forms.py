"""Values of libraries in formats of their own: what comes back is what was put, and others can read it."""

import msgspec
import numpy as np
import pytest

from flowrun.shell.store.artifacts import Store, Unstorable

torch = pytest.importorskip("torch")


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "artifacts")


def back(store, value, of=None, pickles=False):
    return store.get(store.put(value, pickles).source, (), of or type(value))


def files(store):
    return sorted(store.folder.glob("*/*"), key=lambda path: path.stat().st_size)


class NoForm:
    def __init__(self, n):
        self.n = n


class TestTensors:
    @pytest.mark.parametrize(
        "dtype",
        [torch.float32, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.uint16, torch.bool],
        ids=str,
    )
    @pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3)], ids=str)
    def test_come_back_as_they_are(self, store, dtype, shape):
        tensor = torch.ones(shape).to(dtype)
        found = back(store, tensor, torch.Tensor)
        assert (found.dtype, found.shape) == (tensor.dtype, tensor.shape)
        assert torch.equal(found.float(), tensor.float())

    def test_a_state_dict_is_one_file(self, store):
        state = torch.nn.Linear(3, 2).state_dict()
        found = back(store, dict(state), dict[str, torch.Tensor])
        assert found.keys() == state.keys()
        assert all(torch.equal(found[name], state[name]) for name in state)
        assert len(files(store)) == 1

    def test_as_the_library_would_write_it(self, store):
        from safetensors import torch as library

        state = {"b": torch.arange(3), "a": torch.ones(2, 2), "c": torch.ones(5, dtype=torch.bfloat16)}
        store.put(state)
        assert files(store)[0].read_bytes() == library.save(state)

    @pytest.mark.parametrize("lay", [lambda t: t.T, lambda t: t[::2], lambda t: t.requires_grad_()])
    def test_of_any_layout(self, store, lay):
        tensor = lay(torch.arange(12.0).reshape(3, 4))
        assert torch.equal(back(store, tensor, torch.Tensor), tensor.detach())

    def test_what_is_written_to_one_stays_with_the_reader(self, store):
        artifact = store.put({"w": torch.zeros(10_000)})
        store.get(artifact.source)["w"].add_(1)
        assert store.get(artifact.source)["w"].sum() == 0
        assert store.is_sound(artifact)

    def test_an_array_as_a_tensor_is_mapped_and_stays_with_the_reader(self, store):
        artifact = store.put(np.zeros(10_000))
        found = store.get(artifact.source, (), torch.Tensor)
        found += 1
        assert isinstance(found.numpy().base, np.ndarray) or found.numpy().base is not None
        assert store.get(artifact.source).sum() == 0

    def test_in_structures_and_by_path(self, store):
        artifact = store.put({"model": {"w": torch.ones(2), "b": torch.zeros(1)}, "more": [torch.ones(3), 5]})
        assert store.get(artifact.source, ["model", "b"]).tolist() == [0]
        assert store.get(artifact.source, ["more", 0]).tolist() == [1, 1, 1]

    def test_as_an_array(self, store):
        found = back(store, torch.ones(3), np.ndarray)
        assert isinstance(found, np.ndarray)

    def test_that_have_no_form(self, store):
        with pytest.raises(Unstorable, match="sparse"):
            store.put(torch.ones(3, 3).to_sparse())

    def test_are_shown_without_the_library(self, store):
        artifact = store.put({"w": torch.ones(2, 3), "x": {"n": 1}})
        assert store.preview(artifact.source) == {"w": "<F32 tensor [2, 3]>", "x": {"n": 1}}


class TestTables:
    def test_of_pandas(self, store):
        pd = pytest.importorskip("pandas")
        table = pd.DataFrame({"a": [1.5, 2], "b": ["x", None]}, index=pd.Index([5, 7], name="id"))
        pd.testing.assert_frame_equal(back(store, table), table)
        series = table["a"]
        pd.testing.assert_series_equal(back(store, series), series)

    def test_of_pyarrow_are_mapped(self, store):
        pa = pytest.importorskip("pyarrow")
        table = pa.table({"a": np.arange(100_000), "b": [["x"]] * 100_000})
        before = pa.total_allocated_bytes()
        found = back(store, table)
        assert found.equals(table)
        assert pa.total_allocated_bytes() - before < 10_000

    def test_may_be_asked_for_as_those_of_another_library(self, store):
        pa, pd = pytest.importorskip("pyarrow"), pytest.importorskip("pandas")
        table = pa.table({"a": [1, 2]})
        assert back(store, table, pd.DataFrame)["a"].tolist() == [1, 2]
        assert back(store, table.to_pandas(), pa.Table).column("a").to_pylist() == [1, 2]

    def test_the_same_table_is_the_same_file(self, store):
        pa = pytest.importorskip("pyarrow")
        assert store.put(pa.table({"a": [1, 2]})) == store.put(pa.table({"a": [1, 2]}))
        assert len(files(store)) == 1

    def test_that_arrow_cannot_hold(self, store):
        pd = pytest.importorskip("pandas")
        with pytest.raises(Unstorable, match="table cannot be stored"):
            store.put(pd.DataFrame({"a": [1, "x", NoForm(1)]}))


class TestBytes:
    def test_long_ones_are_files_with_just_that(self, store):
        value = {"format": "onnx", "content": b"0123456789" * 10_000}
        assert back(store, value) == value
        assert files(store)[0].read_bytes() == value["content"]

    def test_a_model_is_its_file(self, store):
        onnx = pytest.importorskip("onnx")
        model = onnx.helper.make_model(onnx.helper.make_graph([], "empty", [], []))
        assert back(store, model) == model
        assert onnx.load(files(store)[0]) == model


class TestPickles:
    def test_are_refused_where_the_plan_does_not_name_them(self, store):
        with pytest.raises(Unstorable, match="NoForm` cannot be stored"):
            store.put(NoForm(3))

    def test_where_it_does(self, store):
        found = back(store, [NoForm(3), 5], list, pickles=True)
        assert (found[0].n, found[1]) == (3, 5)

    def test_what_cannot_be_pickled_either(self, store):
        with pytest.raises(Unstorable, match="cannot be pickled"):
            store.put([NoForm(lambda: 0)], pickles=True)

    def test_are_not_loaded_to_be_shown(self, store):
        artifact = store.put(NoForm(3), pickles=True)
        assert store.preview(artifact.source).startswith("<pickle, ")

    def test_are_of_the_type_that_is_asked_for(self, store):
        with pytest.raises(msgspec.ValidationError):
            back(store, NoForm(3), int, pickles=True)
