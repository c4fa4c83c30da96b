"""A key changes exactly when what the node computes does."""

import re

import msgspec
from graphs import plan

from flowc.plan.model import Code
from flowrun.core.keys import node_keys, substitute

BASE = """
    load reads=n
    left  < load
    right < load  depth=3
    join  < left right
    other
"""


def changed(text=BASE, inputs=None, base=BASE, base_inputs=None):
    """The nodes whose keys are not what they were, in plan order."""
    before, after = plan(base), plan(text)
    old = dict(zip([n.id for n in before.nodes], node_keys(before, base_inputs or {"n": 1}), strict=True))
    new = dict(zip([n.id for n in after.nodes], node_keys(after, inputs or {"n": 1}), strict=True))
    return [node for node in new if old.get(node) != new[node]]


def test_they_are_32_hex_digits_and_differ():
    keys = node_keys(plan(BASE), {"n": 1})
    assert all(re.fullmatch("[0-9a-f]{32}", key) for key in keys)
    assert len(set(keys)) == len(keys)


def test_the_same_plan_has_the_same_keys():
    assert changed() == []


def test_what_is_of_no_matter_changes_nothing():
    limits = "cpus=2 memory=9 retries=1 retry_on=crash timeout=7 heartbeat=5 backoff=5 isolation=fork"
    text = BASE.replace("depth=3", f"depth=3 {limits} gives=int")
    assert changed(text) == []


def test_new_neighbours_change_nothing():
    assert changed("zero\n" + BASE + "\nlast < join") == ["zero", "last"]


def test_an_operator_and_all_below_it():
    assert changed(BASE.replace("< load\n", "< load op=flows:better\n")) == ["left", "join"]


def test_its_code():
    assert changed(BASE.replace("depth=3", "depth=3 code=new")) == ["right", "join"]


def test_an_argument():
    assert changed(BASE.replace("depth=3", "depth=4")) == ["right", "join"]
    assert changed(BASE.replace("depth=3", "height=3")) == ["right", "join"]


def test_arguments_differ_by_type_too():
    values = ["1", "1.0", '"1"', "true", "null", "[1]", '{"map":{"a":1}}', "[]", '{"map":{}}']
    keys = [node_keys(plan(f"a x={value}"), {})[0] for value in values]
    assert len(set(keys)) == len(values)


def test_an_input_that_is_read():
    assert changed(inputs={"n": 2}) == ["load", "left", "right", "join"]


def test_not_one_that_is_not_read():
    assert changed(inputs={"n": 1, "m": 5}) == []


def test_another_source():
    text = BASE.replace("join  < left right", "join < left left")
    assert changed(text) == ["join"]


def test_the_order_of_arguments_names_matters_not():
    assert changed('a x=1 y="b"', base='a y="b" x=1') == []


def test_which_part_of_a_result():
    base = 'a\nb x={"from":"a","at":["train"]}'
    assert changed('a\nb x={"from":"a","at":["test"]}', base=base) == ["b"]
    assert changed('a\nb x={"from":"a"}', base=base) == ["b"]


def test_the_name_of_a_node_matters_not():
    renamed = node_keys(plan("a op=f:f\nb op=g:g < a"), {}), node_keys(plan("c op=f:f\nd op=g:g < c"), {})
    assert renamed[0] == renamed[1]


def test_a_long_chain_needs_no_recursion():
    text = "n0\n" + "\n".join(f"n{i} < n{i - 1}" for i in range(1, 3000))
    assert len(set(node_keys(plan(text), {}))) == 3000


def test_substitute_replaces_references_and_leaves_the_rest():
    tree = [{"map": {"a": {"from": "x", "at": ["f"]}, "b": [1, None]}}, {"input": "n"}, "text"]
    found = substitute(tree, lambda ref: f"<{getattr(ref, 'source', '')}{getattr(ref, 'input', '')}>")
    assert found == [{"map": {"a": "<x>", "b": [1, None]}}, "<n>", "text"]


def test_the_versions_of_the_packages_that_an_operator_imports():
    told = msgspec.structs.replace(
        plan("a op=f:f\nb op=g:g\nc op=h:h < a"), codes=(Code("f:f", {}, ("numpy", "gone")), Code("g:g"))
    )
    base, same, newer = (
        node_keys(told, {}, versions)
        for versions in ({"numpy": "1", "torch": "1"}, {"numpy": "1", "torch": "2"}, {"numpy": "2"})
    )
    assert base == same
    assert [old != new for old, new in zip(base, newer, strict=True)] == [True, False, True]
    assert node_keys(told, {}) == node_keys(plan("a op=f:f\nb op=g:g\nc op=h:h < a"), {})
