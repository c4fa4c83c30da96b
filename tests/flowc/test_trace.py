"""What a traced workflow becomes, and what happens when tracing meets mistakes."""

# ruff: noqa: E501 - a case a line

import time

import pytest

from flowc.compiler import compile_workflow
from flowc.plan.codec import decode, encode
from flowc.plan.diagnostics import Refused
from flowc.plan.model import Input
from flowc.source import load


def args(project, body, parameters=""):
    return project.main(body, parameters).nodes[-1].args


@pytest.mark.parametrize(
    ("written", "tree"),
    [
        ("None", None),
        ("True", True),
        ("-3", -3),
        ("0.1", 0.1),
        ("'é\"'", 'é"'),
        ("[1, (2, [])]", [1, [2, []]]),
        ("{'b': 1, 'a': {}}", {"map": {"b": 1, "a": {"map": {}}}}),
        ("date(2024, 2, 29)", "2024-02-29"),
        ("datetime(2024, 2, 29, 1, 2)", "2024-02-29T01:02:00"),
        ("Path('a') / 'b'", "a/b"),
        ("Color.RED", "red"),
        ("numpy.float64(0.5)", 0.5),
        ("numpy.int64(3)", 3),
        ("type('Sub', (str,), {})('a')", "a"),
        ("x", {"from": "x"}),
        ("n", {"input": "n"}),
        ("split(x).train", {"from": "split", "at": ["train"]}),
        ("[x, {'k': (x, n)}]", [{"from": "x"}, {"map": {"k": [{"from": "x"}, {"input": "n"}]}}]),
        ("{'from': 'x', 'map': 1}", {"map": {"from": "x", "map": 1}}),
        ("Parts(x, [n, (1,)])", {"map": {"train": {"from": "x"}, "test": [{"input": "n"}, [1]]}}),
        ("Pair(x, Parts([], n))", [{"from": "x"}, {"map": {"train": [], "test": {"input": "n"}}}]),
        ("Point(1, x)", {"map": {"x": 1, "y": {"from": "x"}}}),
    ],
)
def test_an_argument_becomes_a_tree(project, written, tree):
    body = f"""
    import msgspec, numpy
    from collections import namedtuple
    from datetime import date, datetime
    from enum import Enum
    from pathlib import Path
    class Color(Enum):
        RED = "red"
    Pair = namedtuple("Pair", "a b")
    Point = msgspec.defstruct("Point", ["x", "y"])
    x = load()
    return gather({written})
    """
    found = args(project, body, "n: int")["items"]
    assert found == tree
    assert type(found) is type(tree)


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("object()", "it is a `object`"),
        ("b'x'", "it is a `bytes`"),
        ("{1}", "it is a `set`"),
        ("load", "it is a `Operator`"),
        ("Parts", "it is a `type`"),
        ("Parts([], object())", "it is a `object`"),
        ("float('nan')", "`nan` is no JSON number"),
        ("[1, [float('-inf')]]", "`-inf` is no JSON number"),
        ("2 ** 63", "the number does not fit 64 bits"),
        ("{1: 2}", "the key `1` is not a string"),
        ("'\\ud800'", "the text is not valid Unicode"),
        ("{'\\ud800': 1}", "the text is not valid Unicode"),
    ],
)
def test_a_value_that_a_plan_cannot_hold_is_refused(project, written, why):
    assert project.wrong(f"gather({written})  # !") == [f"FC021 {written}"]
    assert project.wrong(f"gather(more={written}, items=1)  # !") == [f"FC021 {written}"]
    (diagnostic,) = project.refused(f"from ops import *\n@workflow\ndef main():\n    return {written}")
    assert diagnostic.code == "FC021"
    assert why in diagnostic.message


def test_a_list_that_holds_itself_is_refused(project):
    (diagnostic,) = project.refused(
        "from ops import *\n@workflow\ndef main():\n    a = []\n    a.append(a)\n    gather(a)"
    )
    assert diagnostic.code == "FC021"
    assert "contains itself" in diagnostic.message


@pytest.mark.parametrize(
    ("call", "why"),
    [
        ("clean()", "missing a required argument: 'data'"),
        ("clean([1], [2])", "too many positional arguments"),
        ("clean([1], data=[2])", "multiple values for argument 'data'"),
        ("clean(dta=[1])", "missing a required argument: 'data'"),
        ("load(wrong=1)", "got an unexpected keyword argument 'wrong'"),
    ],
)
def test_a_call_that_does_not_match_its_operator(project, call, why):
    assert project.wrong(f"x = {call}  # !\nreturn x") == [f"FC020 {call}"]
    (diagnostic,) = project.refused(f"from ops import *\n@workflow\ndef main():\n    {call}")
    assert why in diagnostic.message
    assert diagnostic.hint in {
        "it is declared as `clean(data: list[int])`",
        "it is declared as `load(path: str = ...)`",
    }


def test_every_independent_mistake_is_found_in_one_run_and_sorted(project):
    body = """
    x = load(3)  # !
    y = clean(x, x)  # !
    z = fit("no", rate="fast")  # !
    w = gather(object())  # !
    if z:  # !
        pass
    never = load(4)
    """
    assert project.wrong(body) == [
        "FC101 3",
        "FC020 clean(x, x)",
        'FC101 "no"',
        'FC101 "fast"',
        "FC021 object()",
        "FC010 z",
    ]


def test_a_mistake_in_a_loop_is_told_once(project):
    assert project.wrong("for n in range(100):\n    clean(dta=n)  # !") == ["FC020 clean(dta=n)"]
    assert project.wrong("for n in range(100):\n    clean('no')  # !") == ["FC101 'no'"]


def test_an_operator_that_a_worker_could_not_find(project):
    source = """
    from ops import *

    @operator
    def first() -> int:
        return 1

    other = first

    @operator
    def first() -> int:
        return 2

    @workflow
    def main():
        @operator
        def inner() -> int:
            return 3
        return {}
    """
    (diagnostic,) = project.refused(source.format("inner()"))
    assert (diagnostic.code, str(diagnostic.labels[0].place)) == ("FC022", "flow.py:18:12")
    assert "`flow:main.<locals>.inner` is not this operator" in diagnostic.message
    (diagnostic,) = project.refused(source.format("other()"))
    assert (diagnostic.code, str(diagnostic.labels[0].place)) == ("FC022", "flow.py:18:12")
    assert project.compile(source.format("first()")).sites[0].op == "flow:first"


def test_a_future_of_another_trace_is_refused(project):
    project.write("flow.py", """
        from ops import *
        kept = []

        @workflow
        def one(n: int):
            kept.append(load())

        @workflow
        def two():
            return clean(kept[0])

        @workflow
        def three():
            return kept
        """)  # fmt: skip
    compile_workflow(load("flow.py:one").workflow)
    for name, line in (("two", 10), ("three", 13)):
        with pytest.raises(Refused) as refusal:
            compile_workflow(load(f"flow.py:{name}").workflow)
        (diagnostic,) = refusal.value.diagnostics
        assert diagnostic.code == "FC017"
        assert diagnostic.labels[0].place.line == line


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("nowhere", "NameError: name 'nowhere' is not defined"),
        ("raise SystemExit(0)", "SystemExit: 0"),
        ("raise KeyError", "KeyError"),
        ("def f(): f()\n    f()", "RecursionError: maximum recursion depth exceeded"),
    ],
)
def test_an_exception_of_the_author_is_shown_at_their_line(project, line, said):
    source = f"from ops import *\n@workflow\ndef main():\n    load()\n    {line}\n"
    (diagnostic,) = project.refused(source)
    assert diagnostic.code == "FC018"
    assert diagnostic.message == f"the workflow function `main` raised `{said}`"
    assert diagnostic.labels[0].place.line >= 5


def test_an_exception_in_a_library_is_shown_where_it_was_called(project):
    (diagnostic,) = project.refused(
        "from ops import *\nimport json\n@workflow\ndef main():\n    json.loads('{')\n"
    )
    assert str(diagnostic.labels[0].place) == "flow.py:5:5"


def test_an_exception_after_a_refusal_is_its_consequence(project):
    assert project.wrong("x = None\ntry:\n    x = len(load())  # !\nexcept Exception:\n    x.y") == [
        "FC011 len(load())"
    ]


def test_outside_a_workflow_operators_and_workflows_are_plain_functions(project):
    project.write(
        "flow.py", "from ops import *\n@workflow\ndef main(n: int = 2):\n    return fit(clean(load()), n)\n"
    )
    main = load("flow.py:main").workflow
    assert main() == 2
    assert main(n=3) == 3
    compile_workflow(main)
    assert main() == 2


def test_after_a_refusal_tracing_is_off(project):
    project.refused("from ops import *\n@workflow\ndef main():\n    return load(3)\n")
    import ops  # the one in the project's folder

    assert ops.load() == [1, 2, 3]


@pytest.mark.parametrize(
    ("parameter", "declared"),
    [
        ("n: int", Input("int")),
        ("n: int = 3", Input("int", 3)),
        ("n=None", Input("Any", None)),
        ("n: list[float] = [1, 2]", Input("list[float]", [1, 2])),
        ("n: dict[str, int] = {'b': 1}", Input("dict[str, int]", {"map": {"b": 1}})),
        ("*, n: 'str | None' = None", Input("str | None", None)),
        ("n: float = 1", Input("float", 1)),
    ],
)
def test_the_parameters_of_a_workflow_are_its_inputs(project, parameter, declared):
    assert project.main("return gather(n)", parameter).header.inputs == {"n": declared}


def test_a_default_that_a_plan_cannot_hold_or_of_the_wrong_type(project):
    source = "from ops import *\n@workflow\ndef main(a: Any = object(), b: int = 'x', c: list[int] = [1, '2']):\n    load()\n"
    found = project.refused(source)
    assert {d.labels[0].place.line for d in found} == {3}
    assert sorted(f"{d.code} {d.message}".partition(",")[0].partition(":")[0] for d in found) == [
        "FC021 the default of input `a` cannot be written into a plan",
        "FC103 input `b` is declared `int`",
        "FC103 input `c[1]` is declared `int`",
    ]


@pytest.mark.parametrize(
    ("returned", "tree"),
    [
        ("None", None),
        ("x", {"from": "x"}),
        ("3, 'a'", [3, "a"]),
        ("{'a': [x, {'b': x}]}", {"map": {"a": [{"from": "x"}, {"map": {"b": {"from": "x"}}}]}}),
        ("n", {"input": "n"}),
        ("[]", []),
    ],
)
def test_the_result_is_an_argument_tree(project, returned, tree):
    assert project.main(f"x = load()\nreturn {returned}", "n: int = 1").header.result == tree


def test_a_workflow_without_calls_is_a_plan(project):
    plan = project.main("return n", "n: int")
    assert (plan.nodes, plan.levels) == ((), ())
    assert decode(encode(plan), "p") == plan


def test_what_an_operator_declares_stands_in_its_site(project):
    source = """
    from ops import *

    @operator(cpus=2, memory="1.5GB", gpus=1, gpu_memory=500, retries=3, backoff="2s", timeout="1h")
    def train(data: list[int], seed: int = 0) -> Parts:
        import numpy as np
        from torch import nn
        import os

    @workflow
    def main():
        return [train([n]) for n in range(3)]
    """
    plan = project.compile(source)
    (site,) = plan.sites
    assert (site.site, site.op, site.takes, site.gives) == (
        "train", "flow:train", {"data": "list[int]", "seed": "int"}, "ops:Parts"
    )  # fmt: skip
    needs = site.needs
    assert (needs.cpus, needs.memory_mb, needs.gpus, needs.gpu_memory_mb) == (2, 1536, 1, 500)
    assert (site.retries, site.backoff_ms, site.timeout_ms) == (3, 2000, 3_600_000)
    assert site.imports == ("numpy", "torch:nn")
    assert len(plan.nodes) == 3


def straight(nodes):
    lines = "".join(f"    x{i} = clean(x{i - 1})\n" for i in range(1, nodes))
    return f"from ops import *\n@workflow\ndef main():\n    x0 = load()\n{lines}    return x{nodes - 1}\n"


LONG = 5000


@pytest.mark.parametrize(
    ("source", "nodes", "levels"),
    [
        (straight(LONG), LONG, LONG),
        (f"from ops import *\n@workflow\ndef main():\n    x = load()\n    for i in range({LONG}):\n        x = clean(x)\n    return x", LONG + 1, LONG + 1),
        ("from ops import *\n@workflow\ndef main():\n    return gather([clean(load(str(i))) for i in range(1000)])", 2001, 3),
        ("from ops import *\ndef r(x, n):\n    return r(clean(x), n - 1) if n else x\n@workflow\ndef main():\n    return r([1], 200)", 200, 200),
    ],
    ids=["straight", "loop", "wide", "recursive"],
)  # fmt: skip
def test_long_and_wide_workflows_compile_quickly_and_without_recursion(project, source, nodes, levels):
    started = time.process_time()
    plan = project.compile(source)
    data = encode(plan)
    assert decode(data, "p") == plan
    assert (len(plan.nodes), len(plan.levels)) == (nodes, levels)
    # Linear takes about a second here; quadratic took 37.
    assert time.process_time() - started < 10
