"""What runs again is what `flowrun` would run again: its keys decide."""

from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.graph import dependencies, levels
from flowc.plan.model import FORMAT, Header, Input, Node, Plan, Site, Span
from flowc.review.diff import compare
from flowc.review.rerun import node_keys
from flowrun.core.keys import node_keys as keys_of_a_run

LITERALS = st.sampled_from([None, True, 1, 1.0, "1", [1], {"map": {"k": 1}}])


@st.composite
def plans(draw):
    """Small plans that have much in common."""
    nodes: list[Node] = []
    for _ in range(draw(st.integers(0, 5))):
        name = draw(st.sampled_from("abcdef"))
        if any(node.id == name for node in nodes):
            continue
        earlier = [{"from": node.id} for node in nodes]
        reference = st.sampled_from([{"input": "i"}, {"input": "j"}, *earlier])
        tree = st.one_of(LITERALS, reference, st.lists(reference, max_size=2),
                         st.builds(lambda ref: {"map": {"k": ref}}, reference))  # fmt: skip
        nodes.append(Node(name, draw(st.dictionaries(st.sampled_from("xy"), tree))))
    sites = tuple(
        Site(node.id, draw(st.sampled_from(["m:f", "m:g"])), draw(st.sampled_from("12"))) for node in nodes
    )
    inputs = {name: Input("Any", draw(LITERALS)) for name in "ij"}
    header = Header(FORMAT, "m:w", inputs=inputs)
    spans = tuple(Span(node.id, "m.py:1:1") for node in nodes)
    return Plan(header, (), sites, tuple(nodes), levels(nodes, dependencies(nodes)), spans)


def run_keys(plan):
    inputs = {name: declared.default for name, declared in plan.header.inputs.items()}
    return dict(zip((node.id for node in plan.nodes), keys_of_a_run(plan, inputs), strict=True))


@given(plans(), plans())
def test_equal_keys_are_equal_keys_of_a_run(old, new):
    numbers: dict[bytes, int] = {}
    ours = [*node_keys(old, numbers).values(), *node_keys(new, numbers).values()]
    theirs = [*run_keys(old).values(), *run_keys(new).values()]
    assert len(set(ours)) == len(set(theirs)) == len(set(zip(ours, theirs, strict=True)))


@given(plans(), plans())
def test_what_runs_again_has_no_equal_key_under_its_name(old, new):
    difference = compare(old, new)
    before, after = run_keys(old), run_keys(new)
    again = {name for name, key in after.items() if before.get(name) != key}
    assert {rerun.site for rerun in difference.runs_again} == again
    assert all(sum(rerun.reasons.values()) == rerun.nodes for rerun in difference.runs_again)


@given(plans(), plans())
def test_a_plan_that_is_the_same_runs_nothing_again(old, new):
    difference = compare(old, new)
    assert compare(new, new).same
    assert not difference.same or not difference.runs_again
