"""Ids and argument trees."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.model import Header, InputRef, Node, Ref, as_reference, as_tree, references, site_of

DEEP = 30_000


@pytest.mark.parametrize(
    ("node", "site"),
    [
        ("a", "a"),
        ("a[1]", "a"),
        ("a[x,y]/b#2", "a/b"),
        ("prep[3]/clean[a]#2", "prep/clean"),
        ("x~clean#12", "x~clean"),
        ("x~2", "x~2"),
        ("größe[é]", "größe"),
        ("", ""),
        ("[", "["),
        ("a#", "a#"),
    ],
)
def test_the_site_of_a_node(node, site):
    assert site_of(node) == site
    assert Node(node).site == site


def test_references_in_order_of_appearance():
    tree = [1, {"from": "b"}, {"map": {"k": [{"input": "n", "at": ["f"]}, None], "a": {"from": "a"}}}, "text"]
    assert list(references(tree)) == [Ref("b"), InputRef("n", ("f",)), Ref("a")]


def test_references_do_not_recurse():
    tree = {"from": "a"}
    for _ in range(DEEP):
        tree = [tree]
    assert list(references(tree)) == [Ref("a")]


@given(st.builds(Ref, st.text(), st.lists(st.text()).map(tuple)) | st.builds(InputRef, st.text()))
def test_a_reference_and_its_tree_are_inverse(ref):
    assert as_reference(as_tree(ref)) == ref
    assert msgspec.json.decode(msgspec.json.encode(ref)) == as_tree(ref)


@pytest.mark.parametrize(
    "part", [{}, {"form": "a"}, {"from": 3}, {"from": "a", "input": "b"}, {"from": "a", "at": "b"}]
)
def test_an_object_that_is_no_reference(part):
    with pytest.raises(msgspec.ValidationError):
        as_reference(part)


def test_the_name_of_a_workflow():
    assert Header(1, "flows.churn:main").name == "main"
