"""What the scheduler reads of values: where arguments lie, and what loops and branches ask for."""

import msgspec
import numpy as np
import pytest
from graphs import host, plan

from flowc.plan.model import Structure
from flowrun.core.changes import Exited, Opened, Resolved
from flowrun.core.decide import decide
from flowrun.core.state import State
from flowrun.shell import values
from flowrun.shell.store.artifacts import Store
from flowrun.shell.values import Unfit, Values, loaded


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


def begun(text, store, inputs=None, **made):
    """A run of a graph in which some nodes have made values."""
    given = plan(text, inputs=dict.fromkeys(inputs or {}, "Any"))
    state = State(given, inputs or {})
    decide(state, Opened(0, "plan", inputs or {}, host(cpus=100)))
    for node, value in made.items():
        decide(state, Exited(0, node, 1, store.put(value)))
    return state, Values(state, store)


def answer(text, store, node, value, inputs=None):
    state, found = begun(text, store, inputs, **({"x": value} if inputs is None else {}))
    return found.resolve(state.by_id[node], 5)


class TestWhatControlNodesAsk:
    @pytest.mark.parametrize("truth", [True, False, np.bool_(True)])
    def test_whether_a_condition_holds(self, store, truth):
        asked = answer("x\nb control=branch < x", store, "b", truth)
        assert asked == Resolved(5, "b", truth=bool(truth))

    @pytest.mark.parametrize("value", [1, "true", None, [True], np.zeros(3)])
    def test_which_must_be_a_bool(self, store, value):
        asked = answer("x\nb control=branch < x", store, "b", value)
        assert asked.failure.code == "FR208"
        assert "must be a `bool`" in asked.failure.message

    def test_an_input(self, store):
        text = 'b control=branch condition={"input":"flag","at":["on"]}'
        assert answer(text, store, "b", None, {"flag": {"on": True}}).truth
        assert answer(text, store, "b", None, {"flag": 3}).failure.code == "FR208"

    @pytest.mark.parametrize("items", [[], [1], ["a", {"b": np.zeros(2)}, None], (1, 2), {5, 6}])
    def test_how_many_items_there_are(self, store, items):
        asked = answer("x\nm control=map < x", store, "m", items)
        assert asked.names == tuple(map(str, range(len(items))))

    @pytest.mark.parametrize(
        ("value", "shown"), [({"a": 1}, "`dict`"), ("abc", "`str`"), (np.zeros(3), "an array")]
    )
    def test_of_a_list(self, store, value, shown):
        asked = answer("x\nm control=map < x", store, "m", value)
        assert asked.failure.message == f"a loop needs a list, got {shown}"

    def test_not_more_than_can_be_scheduled(self, store, monkeypatch):
        monkeypatch.setattr(values, "MAX_ITEMS", 3)
        assert answer("x\nm control=map < x", store, "m", [1, 2, 3]).names
        assert (
            "over 4 items is too long"
            in answer("x\nm control=map < x", store, "m", [1, 2, 3, 4]).failure.message
        )

    def test_a_reduction_needs_an_item_or_an_initial(self, store):
        assert answer("x\nr control=reduce < x", store, "r", [5]).names == ("0",)
        assert "needs an `initial`" in answer("x\nr control=reduce < x", store, "r", []).failure.message
        assert answer("x\nr control=reduce < x  initial=0", store, "r", []).failure is None

    def test_what_is_gone_from_the_store(self, store):
        state, found = begun("x\nm control=map < x", store, x=["x" * 2000])
        digest = state.by_id["x"].artifact.hash
        store.path(digest).unlink()
        failure = found.resolve(state.by_id["m"], 0).failure
        assert (failure.code, failure.damaged) == ("FR306", digest)


class TestNames:
    ITEMS = [{"name": "a b/c", "n": 1}, {"name": "é", "n": 2}]  # noqa: RUF012

    @staticmethod
    def asked(store, key, items, of="Any", structures=()):
        state, _ = begun("x\nm control=map < x", store, x=items)
        task = state.by_id["m"]
        task.site = msgspec.structs.replace(task.site, key=key, takes={"item": f"list[{of}]"})
        state.plan = msgspec.structs.replace(state.plan, structures=structures)
        return Values(state, store).resolve(task, 0)

    def test_after_a_field_as_it_may_stand_in_an_id(self, store):
        assert self.asked(store, "name", self.ITEMS).names == ("a_b_c", "é")
        assert self.asked(store, "n", self.ITEMS).names == ("1", "2")

    def test_of_a_named_tuple_by_position(self, store):
        pair = Structure("m:Pair", {"a": "int", "b": "str"}, positional=("a", "b"))
        assert self.asked(store, "b", [(1, "x"), (2, "y")], "m:Pair", (pair,)).names == ("x", "y")

    @pytest.mark.parametrize("items", [[{"n": 1}], [5], [None], [[1]]])
    def test_that_every_item_has(self, store, items):
        assert "not every item has a field `name`" in self.asked(store, "name", items).failure.message

    def test_and_in_which_they_differ_in_what_an_id_can_show(self, store):
        found = self.asked(store, "name", [{"name": "a b"}, {"name": "a_b"}])
        assert found.failure.message == "two items are called `a_b`: their `name` must tell them apart"


class TestArguments:
    def test_references_are_located(self, store):
        text = 'x\nu < x  a={"input":"i","at":["k",1]} b=[1,{"map":{"c":{"from":"x","at":["f"]}}}]'
        state, found = begun(text, store, {"i": {"k": [7, 8]}}, x={"f": 3})
        made = state.by_id["x"].artifact.data
        located = found.arguments(state.by_id["u"])
        assert located == {
            "a0": {"artifact": made, "at": ()},
            "a": {"value": 8},
            "b": [1, {"map": {"c": {"artifact": made, "at": ("f",)}}}],
        }
        assert loaded(located["b"], store.get) == [1, {"c": 3}]

    def test_what_is_large_is_located_by_its_hash(self, store):
        state, found = begun("x\nu < x", store, x=["x" * 2000])
        located = {"artifact": state.by_id["x"].artifact.hash, "at": ()}
        assert found.arguments(state.by_id["u"]) == {"a0": located}

    def test_what_a_loop_came_to_is_its_nodes_results(self, store):
        state, found = begun("x\nm control=map < x\nu < m", store, x=[1, 2])
        decide(state, Resolved(0, "m", names=("0", "1")))
        assert found.arguments(state.by_id["m[1]"]) == {
            "item": {"artifact": state.by_id["x"].artifact.data, "at": (1,)}
        }
        for i in range(2):
            decide(state, Exited(0, f"m[{i}]", 1, store.put(i * 10)))
        assert loaded(found.located({"from": "m"}), store.get) == [0, 10]

    def test_what_was_skipped_is_none(self, store):
        state, found = begun("f\nb control=branch < f\na when=b", store, f=False)
        decide(state, Resolved(0, "b", truth=False))
        assert found.located([{"from": "a"}]) == [{"value": None}]

    @pytest.mark.parametrize("tree", [{"input": "i", "at": ["no"]}, {"input": "i", "at": ["k", 5]}])
    def test_what_an_input_does_not_have(self, store, tree):
        _, found = begun("x", store, {"i": {"k": [7, 8]}})
        with pytest.raises(Unfit, match="the value of input `i` has no"):
            found.located(tree)

    def test_what_a_control_node_did_not_come_to(self, store):
        state, found = begun("x\nr control=reduce < x", store, x=[5])
        decide(state, Resolved(0, "r", names=("0",)))
        assert found.located({"from": "r"})["at"] == (0,)
        state.results["r"] = 5
        with pytest.raises(Unfit, match="what `r` came to has no `field`"):
            found.located({"from": "r", "at": ["field"]})
