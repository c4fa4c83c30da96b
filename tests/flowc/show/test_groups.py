"""Merging nodes until a picture can take them."""

import pytest

from flowc.plan.graph import dependencies
from flowc.show.groups import Most, collapse, pattern


def names(found):
    return {group.name: len(group.members) for group in found.groups}


def test_a_small_plan_is_drawn_as_it_is(study):
    plan = study()
    found = collapse(plan, Most.nodes(300))
    assert found.by == "node"
    assert [group.name for group in found.groups] == [node.id for node in plan.nodes]
    ends = {(source, i) for i, sources in enumerate(dependencies(plan.nodes)) for source in sources}
    assert {(edge.source, edge.target) for edge in found.edges} == ends


@pytest.mark.parametrize("most", [1, 2, 3, 5, 8, 12, 20, 40, 1000])
def test_every_node_and_edge_is_counted_once(study, most):
    plan = study(30)
    limits = Most.nodes(most)
    found = collapse(plan, limits)
    assert len(found.groups) <= most
    assert len(found.edges) <= limits.edges
    assert sorted(i for group in found.groups for i in group.members) == list(range(len(plan.nodes)))
    inside = sum(group.inner for group in found.groups)
    between = sum(edge.count for edge in found.edges)
    assert inside + between == sum(map(len, dependencies(plan.nodes)))
    assert all(edge.source != edge.target for edge in found.edges)
    assert len({(edge.source, edge.target) for edge in found.edges}) == len(found.edges)


def test_loops_fold_up_by_site(study):
    found = collapse(study(100), Most.nodes(40))
    assert found.by == "site"
    assert names(found)["state~gather[…]"] == 100
    assert names(found)["rest/model[…]"] == 9
    assert names(found)["table"] == 1


def test_scopes_fold_up_next_then_levels(study):
    plan = study(100)
    found = collapse(plan, Most.nodes(10))
    assert found.by == "scope"
    assert names(found)["rest/…"] == 24
    found = collapse(plan, Most.nodes(4))
    assert found.by == "level"
    assert all("level" in group.name for group in found.groups)


def test_too_many_edges_or_nodes_side_by_side_are_reasons_too(project):
    plan = project.main("xs = [load(str(i)) for i in range(30)]\nreturn [gather(xs) for _ in range(30)]")
    assert collapse(plan, Most(100, 1000, 30)).by == "node"
    assert collapse(plan, Most(100, 1000, 29)).by == "site"
    assert collapse(plan, Most(100, 899, 30)).by == "site"


def test_a_group_knows_its_levels_and_the_longest_path(project):
    plan = project.main("a = load()\nb = load()\nfor i in range(40):\n    a = clean(a)\nreturn a, b")
    found = collapse(plan, Most.nodes(12))
    first, aside, loop = found.groups
    assert (loop.first_level, loop.last_level, loop.inner, loop.critical) == (1, 40, 39, True)
    assert (first.critical, aside.critical) == (True, False)
    assert [(e.source, e.target, e.count, e.critical) for e in found.edges] == [(0, 2, 1, True)]


def test_a_plan_without_nodes(project):
    found = collapse(project.main("return 1"), Most.nodes(1))
    assert (found.groups, found.edges) == ((), ())


def test_the_pattern_of_an_id():
    assert pattern("prep[3]/clean[a,b]#2") == "prep[…]/clean[…]"
