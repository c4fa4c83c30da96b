"""Loops, branches and handlers: the nodes that they make, what they mean in plain Python, what is refused."""

import pytest

import flowc
from flowc import foreach, operator, reduce, when
from flowc.plan import codec

MORE = """
from flowc import finally_, foreach, on_failure, reduce, when

@operator
def numbers(n: int = 3) -> list[int]:
    return list(range(n))

@operator
def grow(x: int, by: int = 1) -> int:
    return x + by

@operator
def add(a: int, b: int) -> int:
    return a + b

@operator
def is_big(x: int) -> bool:
    return x > 1

@operator
def tell(text: str = "") -> None:
    print(text)
"""


@pytest.fixture
def more(project):
    """Workflow bodies may use these operators, too."""
    ops = (project.folder / "ops.py").read_text()
    project.write("ops.py", ops + MORE)
    return project


def nodes(plan):
    return {node.id: node for node in plan.nodes}


def controls(plan):
    return {site.site: site.control for site in plan.sites if site.control != "none"}


class TestForeach:
    def test_a_loop_over_a_future_is_one_node_for_the_run_to_unfold(self, more):
        plan = more.main("grown = foreach(grow, numbers(n), by=n)\nreturn grown", "n: int")
        site = plan.sites[1]
        assert (site.control, site.each, site.gives) == ("map", ("x",), "list[int]")
        assert site.takes == {"x": "list[int]", "by": "int"}
        assert nodes(plan)["grown"].args == {"x": {"from": "numbers"}, "by": {"input": "n"}}
        assert codec.decode(codec.encode(plan), "p") == plan

    def test_a_loop_over_a_list_is_calls_like_any_other(self, more):
        assert more.ids("grown = foreach(grow, [1, n], by=2)", "n: int") == ["grown[0]", "grown[1]"]
        body = 'grown = foreach(gather, [{"k": "a b"}, {"k": 2}], key="k")'
        assert more.ids(body) == ["grown[a_b]", "grown[2]"]

    def test_items_go_to_the_first_parameter_that_is_not_shared(self, more):
        plan = more.main("return foreach(add, numbers(), a=1)")
        assert nodes(plan)["add"].args == {"b": {"from": "numbers"}, "a": 1}

    def test_loops_of_loops_and_in_loops(self, more):
        body = """
        for k in (1, 2):
            once = foreach(grow, numbers(k))
            twice = foreach(grow, once)
        return twice
        """
        plan = more.main(body)
        assert [*nodes(plan)] == [f"{name}[{k}]" for k in (1, 2) for name in ("numbers", "once", "twice")]
        assert nodes(plan)["twice[2]"].args == {"x": {"from": "once[2]"}}

    def test_after_what_it_waits(self, more):
        plan = more.main(
            "t = tell()\ng = foreach(grow, numbers(), after=t)\nh = foreach(grow, [1], after=[g, t])"
        )
        assert nodes(plan)["g"].after == ("t",)
        assert nodes(plan)["h[0]"].after == ("g", "t")

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            ("foreach(len, numbers())", "takes an operator, not `len`"),
            ("foreach(grow, 5)", "takes a list or the future of one, not a value of type `int`"),
            ("foreach(grow, numbers(), to=1)", "`grow` has no parameter `to`"),
            ("foreach(numbers, numbers(), n=1)", "`numbers` has no parameter for foreach's items"),
            ("foreach(add, numbers())", "`add` is not given `b`"),
            ("foreach(grow, [1], key='name')", "item 0 of `foreach` has no field `name`"),
            ("reduce(grow, numbers(), by=1)", "`grow` has no parameter for reduce's items"),
            ("reduce(add, [])", "needs an `initial`"),
            ("reduce(add, 3)", "takes a list or the future of one"),
            ("reduce(fit, numbers())", "which are `float`, to its parameter `data`, which is `list[int]`"),
        ],
    )
    def test_what_is_wrong(self, more, call, message):
        (found,) = more.refused(f"from ops import *\n\n@workflow\ndef main():\n    return {call}\n")
        assert found.code == "FC026"
        assert message in found.message
        assert found.labels[0].place.line == 5

    def test_items_of_the_wrong_type_are_shown_where_they_stand(self, more):
        assert more.wrong("return foreach(fit, load())  # !") == ["FC101 load()"]
        assert more.wrong("return reduce(add, load(), 'x')  # !") == ["FC101 'x'"]

    def test_a_key_that_the_items_do_not_have(self, more):
        source = (
            "from ops import *\n\n@operator\ndef parts() -> list[Parts]:\n    return []\n\n"
            "@operator\ndef use(p: Parts) -> int:\n    return 1\n\n"
            "@workflow\ndef main():\n    return foreach(use, parts(), key='nam')\n"
        )
        (found,) = more.refused(source)
        assert (found.code, found.hint) == ("FC026", "its fields are `train`, `test`")


class TestReduce:
    def test_of_a_future(self, more):
        plan = more.main("total = reduce(add, numbers(), 5)\nreturn total")
        site = plan.sites[1]
        assert (site.control, site.each, site.gives) == ("reduce", ("a", "b"), "int")
        assert nodes(plan)["total"].args == {"items": {"from": "numbers"}, "initial": 5}

    def test_of_a_list_is_a_balanced_tree(self, more):
        plan = more.main("total = reduce(add, [grow(i) for i in range(5)])\nreturn total")
        assert [node for node in nodes(plan) if node.startswith("total")] == [
            "total[0.0]",
            "total[0.1]",
            "total[1.0]",
            "total[2.0]",
        ]
        assert plan.header.result == {"from": "total[2.0]"}
        assert len(plan.levels) == 4

    @pytest.mark.parametrize(("items", "result"), [("[7]", 7), ("[]", 1)])
    def test_without_a_call(self, more, items, result):
        initial = ", 1" if items == "[]" else ""
        assert more.main(f"return reduce(add, {items}{initial})").header.result == result


class TestWhen:
    def test_both_branches_stand_in_the_plan(self, more):
        plan = more.main("said = when(is_big(n), lambda: grow(n), lambda: add(n, 1))\nreturn said", "n: int")
        assert controls(plan) == {"said.if": "branch", "said": "choose"}
        found = nodes(plan)
        assert found["said.if"].args == {"condition": {"from": "is_big"}}
        assert (found["grow"].when, found["add"].unless) == (("said.if",), ("said.if",))
        assert found["said"].args == {
            "condition": {"from": "said.if"},
            "then": {"from": "grow"},
            "otherwise": {"from": "add"},
        }
        assert codec.decode(codec.encode(plan), "p") == plan

    def test_the_type_is_that_of_both(self, more):
        plan = more.main("a = when(flag, 1, 'x')\nb = when(flag, lambda: grow(1))\nreturn a, b", "flag: bool")
        assert [site.gives for site in plan.sites if site.control == "choose"] == ["int | str", "int | None"]

    def test_which_is_checked_where_it_goes(self, more):
        assert more.wrong("return grow(when(flag, 1, 'x'))  # !", "flag: bool") == [
            "FC101 when(flag, 1, 'x')"
        ]
        assert more.wrong("return when(n, 1, 2)  # !", "n: int") == ["FC101 n"]

    def test_branches_in_branches(self, more):
        body = "return when(f, lambda: when(g, lambda: grow(1), 2), 3)"
        plan = more.main(body, "f: bool, g: bool")
        outer, inner = [site for site, control in controls(plan).items() if control == "branch"]
        found = nodes(plan)
        assert found["grow"].when == (outer, inner)
        assert found[inner].when == (outer,)

    def test_a_plain_condition_is_decided_at_once(self, more):
        assert more.ids("return when(True, lambda: grow(1), lambda: grow(2))") == ["grow"]

    def test_in_a_loop_its_types_are_those_of_all_its_calls(self, more):
        plan = more.main("for x in (1, 'a'):\n    y = when(f, x, None)\nreturn y", "f: bool")
        assert plan.sites[-1].gives == "int | str | None"


class TestAtTheEnd:
    def test_handlers_wait_for_whatever_no_other_waits_for(self, more):
        body = """
        a = grow(1)
        b = grow(a)
        c = grow(a)
        on_failure(lambda: tell("sorry"))
        finally_(lambda: tell("bye"))
        """
        found = [*nodes(more.main(body)).values()][-2:]
        assert [(node.after, node.trigger) for node in found] == [
            (("b", "c"), "failure"),
            (("b", "c"), "always"),
        ]

    def test_or_for_those_that_are_named(self, more):
        plan = more.main(
            "a = grow(1)\nb = grow(2)\nfinally_(lambda: tell(), of=a)\nfinally_(tell, of=[b, a])"
        )
        assert [node.after for node in plan.nodes[2:]] == [("a",), ("b", "a")]

    def test_for_values_that_a_choice_may_not_need(self, more):
        """What runs in its branches, it needs; but what comes from outside may fail without harm to it."""
        body = """
        x = grow(1)
        c = when(f, lambda: grow(2), x)
        on_failure(lambda: tell())
        """
        assert [*nodes(more.main(body, "f: bool")).values()][-1].after == ("x", "c")

    def test_a_branch_and_a_loop_in_a_handler_are_part_of_it(self, more):
        body = """
        a = grow(1)
        def end():
            b = when(f, lambda: tell("x"))
            foreach(grow, numbers())
        finally_(end)
        """
        plan = more.main(body, "f: bool")
        assert {(node.after, node.trigger) for node in plan.nodes[1:]} == {(("a",), "always")}
        assert codec.decode(codec.encode(plan), "p") == plan

    @pytest.mark.parametrize(
        ("call", "message"),
        [
            ("finally_(tell('x'))", "takes a function, not a future"),
            ("on_failure(5)", "takes a function, not a value of type `int`"),
            ("finally_(lambda: on_failure(tell))", "cannot stand inside"),
        ],
    )
    def test_what_is_wrong(self, more, call, message):
        source = f"from ops import *\n\n@workflow\ndef main():\n    grow(1)\n    {call}\n"
        (found,) = more.refused(source)
        assert (found.code, found.labels[0].place.line) == ("FC028", 6)
        assert message in found.message

    def test_with_nothing_to_wait_for(self, more):
        (found,) = more.refused("from ops import *\n\n@workflow\ndef main():\n    finally_(tell)\n")
        assert (found.code, found.hint) == ("FC028", "write it after them")


class TestAfter:
    def test_a_call_waits_for_others_without_their_results(self, more):
        plan = more.main("a = grow(1)\nb = grow(2)\nc = grow(3, after=[a, b])\nd = grow(4, after=a)")
        assert [node.after for node in plan.nodes] == [(), (), ("a", "b"), ("a",)]

    @pytest.mark.parametrize("what", ["n", "3", "grow", "[grow(1), 2]"])
    def test_what_is_no_future_of_a_call(self, more, what):
        assert more.wrong(f"return grow(1, after={what})  # !", "n: int") == [f"FC029 {what}"]


@operator
def double(x: int, times: int = 2) -> int:
    return x * times


@operator
def plus(a: int, b: int) -> int:
    return a + b


class TestPlainPython:
    def test_they_are_what_they_say(self):
        assert foreach(double, [1, 2], times=3) == [3, 6]
        assert reduce(plus, [1, 2, 3]) == 6
        assert reduce(plus, [], 5) == 5
        assert when(True, lambda: 1, lambda: 1 / 0) == 1
        assert when(False, 1) is None
        assert double(2, after="whatever") == 4
        assert foreach(double, [1], after="whatever") == [2]

    def test_only_what_always_runs_does_at_the_end(self):
        ran = []
        flowc.on_failure(lambda: ran.append("failure"))
        flowc.finally_(lambda: ran.append("always"))
        assert ran == ["always"]

    def test_mistakes_are_type_errors(self):
        with pytest.raises(TypeError, match="takes an operator"):
            foreach(len, [1])


def test_nothing_recurses_on_the_depth_of_the_graph(more):
    """Chains of nodes, of choices, of loops over loops; recursion of the author's own is Python's limit."""
    body = """
    x = grow(0)
    for _ in range(20_000):
        x = grow(x)
    c, items = 1, numbers()
    for _ in range(2000):
        c = when(f, c, 0)
        items = foreach(grow, items)
    return x, c, items, gather([grow(i) for i in range(100)])
    """
    plan = more.main(body, "f: bool")
    assert len(plan.nodes) == 1 + 20_000 + 1 + 3 * 2000 + 100 + 1
    assert codec.decode(codec.encode(plan), "p") == plan


def test_functions_and_workflows_may_recurse(more):
    source = """
    from ops import *

    @workflow
    def chain(x, depth: int):
        return x if depth == 0 else chain(grow(x), depth - 1)

    @workflow
    def main():
        return chain(1, 50)
    """
    plan = more.compile(source)
    assert len(plan.nodes) == 50
    assert len(plan.levels) == 50
