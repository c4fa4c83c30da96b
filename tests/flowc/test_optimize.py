"""Simplification: what goes, what must stay, and that what is left computes the same."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.compiler import Options, compiled
from flowc.optimize import (
    MAX_CONSTANT_BYTES,
    NoConstant,
    constant,
    dead_nodes,
    remove_dead,
    share_equal,
    simplify,
)
from flowc.plan.codec import decode, encode
from flowc.plan.graph import dependencies, levels
from flowc.plan.model import FORMAT, Header, Input, Node, Plan, Site, Span, sources_of
from flowc.plan.types import parse
from flowc.source import load
from flowc.timing import Stopwatch

PURE = """
from typing import NamedTuple
from flowc import finally_, foreach, on_failure, operator, when, workflow
from ops import Parts, load

@operator(deterministic=True)
def clean(data: list[int], by: int = 1) -> list[int]:
    return [x * by for x in data]

@operator(deterministic=True)
def split(data: list[int]) -> Parts:
    return Parts(data, data)

@operator(deterministic=True)
def verify(data: list[int]) -> None:
    assert data

@operator
def save(data: list[int]) -> int:
    return 0

@operator(deterministic=True, fold=True)
def double(n: int) -> int:
    return 2 * n

@operator(deterministic=True, fold=True)
def inverse(n: int) -> float:
    return 1 / n

@operator(deterministic=True, fold=True)
def text(n: int) -> str:
    return n * "x"

@operator
def train(n: int, factors: list[float] = []) -> float:
    return float(n)

@operator
def len_of(data: list[int]) -> int:
    return len(data)

@operator
def yes() -> bool:
    return True

@workflow
"""


@pytest.fixture
def draft(project):
    """What the passes make of a workflow's body."""

    def draft(body, parameters="", **options):
        lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
        project.write("pure.py", f"{PURE.lstrip()}def main({parameters}):\n{lines}\n")
        project.forget()
        return compiled(load("pure.py:main").workflow, Options(**options), Stopwatch(lambda: 0.0))

    return draft


def ids(plan):
    return [node.id for node in plan.nodes]


def args(plan):
    return {node.id: node.args for node in plan.nodes}


def test_what_nothing_uses_goes_with_all_that_only_it_uses(draft):
    found = draft("raw = load('a')\nonce = clean(raw)\ntwice = clean(once)\nreturn raw")
    assert ids(found.plan) == ["raw"]
    assert found.simplified.removed == ["once", "twice"]
    (warning,) = found.warnings
    assert (warning.code, warning.severity) == ("FC210", "warning")
    assert warning.labels[0].place.column == len("    twice = ") + 1


def test_the_rows_of_what_went_go_too(draft):
    plan = draft("raw = load('a')\nparts = split(raw)\nreturn raw").plan
    assert [site.site for site in plan.sites] == [span.site for span in plan.spans] == ["raw"]
    assert plan.structures == ()
    assert decode(encode(plan), "plan") == plan


def test_what_may_have_an_effect_stays(draft):
    found = draft("save(clean(load('a')))\nverify(load('b'))\nreturn 1")
    assert ids(found.plan) == ["load", "clean", "save", "load~2", "verify"]
    assert found.warnings == ()


def test_what_is_waited_for_stays(draft):
    body = "a = clean(load('a'))\nb = save([1], after=a)\nc = clean([2])\nfinally_(lambda: save([3]), of=c)"
    assert ids(draft(body).plan) == ["load", "a", "b", "c", "save"]


def test_a_choice_that_nothing_uses_goes_and_its_branch_stays_for_what_has_an_effect(draft):
    body = "when(yes(), lambda: save([1]), lambda: clean([2]))\nreturn 1"
    found = draft(body)
    assert ids(found.plan) == ["yes", "when.if", "save"]
    assert found.simplified.removed == ["clean"]
    assert [d.labels[0].text for d in found.warnings] == ["made here, used by nothing"]


def test_a_loop_that_nothing_uses_goes(draft):
    found = draft("foreach(clean, items)\nforeach(verify, items)\nreturn 1", "items: list[list[int]]")
    assert ids(found.plan) == ["verify"]


def test_one_warning_for_a_site_however_many_calls(draft):
    found = draft("raw = load('a')\nfor i in range(3):\n    clean(raw, i)\nreturn raw")
    assert [d.message for d in found.warnings] == ["the result of `clean` is not used, 3 calls of it"]


def test_equal_calls_become_the_first(draft):
    body = "raw = load('a')\na = clean(raw, by=2)\nb = clean(by=2, data=raw)\nreturn [a, clean(b), clean(a)]"
    found = draft(body)
    assert ids(found.plan) == ["raw", "a", "clean"]
    assert found.simplified.shared == {"b": "a", "clean~2": "clean"}
    assert found.plan.header.result == [{"from": "a"}, {"from": "clean"}, {"from": "clean"}]


@pytest.mark.parametrize(
    "other",
    [
        "clean(load('a'), by=2)",  # `load` may give something else each time
        "clean(raw)",
        "clean(raw, by=2, after=raw2)",
        "when(yes(), lambda: clean(raw, by=2))",
    ],
)
def test_what_is_not_equal_is_not_shared(draft, other):
    body = f"raw = load('a')\nraw2 = load('b')\na = clean(raw, by=2)\nb = {other}\nreturn [a, b, raw2]"
    assert draft(body).simplified.shared == {}


def test_kinds_of_numbers_are_told_apart():
    found = share_equal(_plan([("a", {"n": 1}), ("b", {"n": 1.0}), ("c", {"n": True}), ("d", {"n": 1})]))
    assert found[1] == {"d": "a"}


def test_calls_in_one_branch_are_shared_but_not_with_the_other(draft):
    body = """
c = yes()
x = when(c, lambda: [clean([1]), clean([1])], lambda: clean([1]))
return x
"""
    assert len(draft(body).simplified.shared) == 1


def test_waiting_moves_to_what_is_shared(draft):
    body = "a = clean([1])\nb = clean([1])\nsave([2], after=[b, a])\n"
    body += "on_failure(lambda: save([3]), of=b)\nreturn a"
    plan = draft(body).plan
    assert [node.after for node in plan.nodes] == [(), ("a",), ("a",)]
    assert plan.nodes[2].trigger == "failure"


def test_constants_are_computed_through_chains(draft):
    found = draft("n = double(double(4))\nreturn [train(n), train(1, [inverse(4), inverse(2)]), n]")
    assert args(found.plan) == {"train": {"n": 16}, "train~2": {"n": 1, "factors": [0.25, 0.5]}}
    assert found.plan.header.result == [{"from": "train"}, {"from": "train~2"}, 16]
    assert found.simplified.folded == {"double": 8, "n": 16, "inverse": 0.25, "inverse~2": 0.5}
    assert found.simplified.removed == []
    assert found.warnings == ()


def test_a_workflow_of_constants_alone(draft):
    plan = draft("return double(2)").plan
    assert (plan.nodes, plan.sites, plan.header.result) == ((), (), 4)
    assert decode(encode(plan), "plan") == plan


def test_what_is_not_known_is_left_to_the_run(draft):
    found = draft("return [double(n), double(len_of(load('a'))), clean([1])]", "n: int")
    assert found.simplified.folded == {}


def test_a_call_that_may_not_happen_is_not_made(draft):
    found = draft("return when(yes(), lambda: inverse(0))")
    assert (found.simplified.folded, found.warnings) == ({}, ())


def test_an_exception_is_a_warning_and_left_to_the_run(draft):
    found = draft("return [inverse(i) for i in (0, 0, 2)]")
    assert [(d.code, d.severity) for d in found.warnings] == [("FC211", "warning")]
    assert "ZeroDivisionError: division by zero" in found.warnings[0].message
    assert found.plan.header.result == [{"from": "inverse[0]"}, {"from": "inverse[0]"}, 0.5]


def test_a_large_constant_is_left_to_the_run(draft):
    found = draft(f"return [text({MAX_CONSTANT_BYTES}), text(3)]")
    assert list(found.simplified.folded.values()) == ["xxx"]
    assert ids(found.plan) == ["text"]


def test_a_slow_constant_is_a_warning_and_the_plan_the_same(draft, project):
    quick = draft("return double(2)")
    ticks = iter(range(100))
    project.forget()
    slow = compiled(load("pure.py:main").workflow, Options(), Stopwatch(lambda: float(next(ticks))))
    assert [d.code for d in slow.warnings] == ["FC213"]
    assert encode(slow.plan) == encode(quick.plan)


@pytest.mark.parametrize(
    ("value", "of"),
    [
        (1, "str"),
        ((1, 2), "tuple[int, int]"),
        (float("nan"), "float"),
        (2**63, "int"),
        ({1: 2}, "dict[str, int]"),
    ],
)
def test_what_a_plan_could_not_tell_apart_is_no_constant(value, of):
    with pytest.raises((NoConstant, ValueError)):
        constant(value, parse(of))


def test_a_mapping_as_a_constant():
    assert constant({"a": [1, None]}, parse("dict[str, list[int | None]]")) == {"map": {"a": [1, None]}}


def test_without_optimisation_everything_stays(draft):
    body = "n = double(4)\na = clean([1])\nb = clean([1])\nreturn [a, b]"
    found = draft(body, optimize=False)
    assert ids(found.plan) == ["n", "a", "b"]
    assert [d.code for d in found.warnings] == ["FC210"]


def test_a_plan_without_deterministic_operators_is_given_back_itself(project):
    plan = project.main("load('a')\nload('a')\nreturn 1")
    assert simplify(plan, _no_compute)[0] is plan


def test_a_deep_plan():
    count = 20_000
    chain = [(f"n[{i}]", {"n": {"from": f"n[{i - 1}]"}} if i else {"n": 0}) for i in range(count)]
    twin = [(f"m[{i}]", {"n": {"from": f"m[{i - 1}]"}} if i else {"n": 0}) for i in range(count)]
    plan = _plan([*chain, *twin], {"from": f"m[{count - 1}]"})
    shared, stands_for = share_equal(plan)
    assert len(stands_for) == count
    assert shared.header.result == {"from": f"n[{count - 1}]"}
    assert len(dead_nodes(_plan(chain, None))) == count
    assert remove_dead(shared)[0] is shared


# Random plans: the optimised one has the same result and the same effects.


@st.composite
def plans(draw):
    """A plan of `add` and `double`, deterministic or not, with branches and order, and its result."""
    sites = [
        Site("pure", "ops:add", "c0", {"a": "int", "b": "int"}, "Any", deterministic=True),
        Site("twin", "ops:add", "c0", {"a": "int", "b": "int"}, "Any", deterministic=True),
        Site("other", "ops:double", "c1", {"a": "int", "b": "int"}, "Any", deterministic=True),
        Site("quiet", "ops:note", "c3", {"a": "int", "b": "int"}, "None", deterministic=True),
        Site("effect", "ops:add", "c2", {"a": "int", "b": "int"}, "Any"),
        Site("if", "flowc.control:branch", "", {"condition": "bool"}, "bool", control="branch"),
    ]
    nodes: list[Node] = []
    branches: list[str] = []
    for i in range(draw(st.integers(1, 14))):
        site = draw(st.sampled_from(sites))
        values = [node.id for node in nodes if not node.id.startswith(("if", "quiet"))]
        literal = st.booleans() if site.control == "branch" else st.integers(0, 2)
        known = [literal, st.just({"input": "x"})]
        tree = st.one_of(*known, *([st.sampled_from([{"from": name} for name in values])] if values else []))
        taken = {name: draw(tree) for name in site.takes}
        guards = draw(st.lists(st.sampled_from(branches), max_size=1)) if branches else []
        when, unless = (guards, []) if draw(st.booleans()) else ([], guards)
        after = draw(st.lists(st.sampled_from(values), max_size=1)) if values and draw(st.booleans()) else []
        nodes.append(Node(f"{site.site}[{i}]", taken, tuple(after), tuple(when), tuple(unless)))
        branches += [nodes[-1].id] if site.control == "branch" else []
    used = {node.site for node in nodes}
    kept = tuple(site for site in sites if site.site in used)
    values = [{"from": node.id} for node in nodes if not node.id.startswith(("if", "quiet"))]
    result = draw(st.lists(st.sampled_from(values), max_size=3)) if values else []
    spans = tuple(Span(site.site, "flow.py:1:1") for site in kept)
    header = Header(FORMAT, "flow:main", inputs={"x": Input("Any", 5)}, result=result)
    return Plan(header, sites=kept, nodes=tuple(nodes), spans=spans)


SKIPPED = "skipped"


def interpreted(plan):
    """The result of a plan, and the calls with an effect that it makes, in plain Python."""
    sites = {site.site: site for site in plan.sites}
    values, effects = {}, []

    def value(tree):
        if isinstance(tree, list):
            return [value(part) for part in tree]
        if isinstance(tree, dict):
            return values[tree["from"]] if "from" in tree else 5
        return tree

    for node in plan.nodes:
        site = sites[node.site]
        taken = {name: value(tree) for name, tree in node.args.items()}
        guards = [values[name] is True for name in node.when] + [
            values[name] is False for name in node.unless
        ]
        if not all(guards) or SKIPPED in taken.values():
            values[node.id] = SKIPPED
        elif site.control == "branch":
            values[node.id] = taken["condition"] % 2 == 0
        else:
            values[node.id] = operate(node, site.op, taken)
            if not site.deterministic or site.gives == "None":
                effects.append((site.site, *sorted(taken.items())))
    return value(plan.header.result), effects


def operate(node, op, taken):
    return taken["a"] + taken["b"] if op == "ops:add" else 2 * taken["a"]


@given(plans(), st.booleans())
def test_an_optimised_plan_computes_the_same(plan, fold):
    found, _ = simplify(plan, operate, {"ops:add", "ops:double"} if fold else ())
    result, calls = interpreted(found)
    expected, expected_calls = interpreted(plan)
    assert result == expected
    effects, others = (
        [call for call in calls if (call[0] == "effect") is wanted] for wanted in (True, False)
    )
    assert effects == [call for call in expected_calls if call[0] == "effect"]
    assert set(others) == set(expected_calls) - set(effects)  # equal ones have become one


@given(plans(), st.booleans())
def test_an_optimised_plan_is_a_plan(plan, fold):
    found, done = simplify(plan, operate, {"ops:add", "ops:double"} if fold else ())
    depends_on = dependencies(found.nodes)
    whole = Plan(found.header, (), found.sites, found.nodes, levels(found.nodes, depends_on), found.spans)
    assert decode(encode(whole), "plan") == whole
    left = {node.id for node in found.nodes}
    assert not left & set(done.removed)
    assert not left & set(done.shared)
    assert left <= {node.id for node in plan.nodes}
    assert not dead_nodes(found)
    assert simplify(found, _no_compute)[0] == found


def _no_compute(*_):
    raise AssertionError("nothing may be computed")


def _plan(calls, result=None):
    """A plan of calls of one deterministic operator, as (id, arguments)."""
    nodes = tuple(Node(name, taken) for name, taken in calls)
    names = list(dict.fromkeys(node.site for node in nodes))
    sites = tuple(Site(name, "ops:f", "c0", {"n": "Any"}, deterministic=True) for name in names)
    assert all(source for node in nodes for tree in node.args.values() for source in sources_of(tree))
    return Plan(Header(FORMAT, "flow:main", result=result), sites=sites, nodes=nodes)
