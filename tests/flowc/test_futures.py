"""A future refuses what it cannot mean: with its own code, at the very expression."""

import copy
import pickle
import sys

import pytest

from flowc.plan.diagnostics import Refused

COARSE = sys.version_info < (3, 12)  # newer versions of Python tell some places more exactly
SETUP = "fut = load()\nparts = split(fut)\nrate = fit(parts.train)\n"


@pytest.mark.parametrize(
    ("code", "line", "underlined"),
    [
        # a condition
        ("FC010", "if rate: pass", "rate"),
        ("FC010", "if 1 and rate: pass", "1 and rate" if COARSE else "rate"),
        ("FC010", "while rate: pass", "rate"),
        ("FC010", "x = 1 if rate else 2", "rate"),
        ("FC010", "assert rate, 'no'", "rate"),
        ("FC010", "x = not rate", "not rate"),
        ("FC010", "x = rate and 1", "rate and 1"),
        ("FC010", "x = rate or 1", "rate or 1"),
        ("FC010", "x = bool(rate)", "bool(rate)"),
        ("FC010", "x = any([rate])", "any([rate])"),
        # iterated, unpacked or measured
        ("FC011", "for x in fut: pass", "fut"),
        ("FC011", "x, y = fut", "x, y"),
        ("FC011", "x = [*fut]", "[*fut]"),
        ("FC011", "x = [y for y in fut]", "fut"),
        ("FC011", "x = gather(*fut)", "gather(*fut)"),
        ("FC011", "x = list(fut)", "list(fut)"),
        ("FC011", "x = len(fut)", "len(fut)"),
        ("FC011", "x = 3 in fut", "3 in fut"),
        ("FC011", "x = reversed(fut)", "reversed(fut)"),
        ("FC011", "x = sorted(fut)", "sorted(fut)"),
        ("FC011", "x = next(iter(fut))", "iter(fut)"),
        ("FC011", "x = next(fut)", "next(fut)"),
        # compared
        ("FC012", "x = rate == 1", "rate == 1"),
        ("FC012", "x = rate != 1", "rate != 1"),
        ("FC012", "x = 0 < rate", "0 < rate"),
        ("FC012", "x = rate >= rate", "rate >= rate"),
        ("FC012", "x = rate in [1, 2]", "rate in [1, 2]"),
        ("FC012", "x = max(rate, 1)", "max(rate, 1)"),
        ("FC012", "x = [1].index(rate)", "[1].index(rate)"),
        ("FC012", "if rate > 1: pass", "rate > 1"),
        # a plain value
        ("FC013", "x = int(rate)", "int(rate)"),
        ("FC013", "x = float(rate)", "float(rate)"),
        ("FC013", "x = str(rate)", "str(rate)"),
        ("FC013", "x = f'{rate:.2f}'", "f'{rate:.2f}'" if COARSE else "{rate:.2f}"),
        ("FC013", "x = '%s' % rate", "'%s' % rate"),
        ("FC013", "x = '{}'.format(rate)", "'{}'.format(rate)"),
        ("FC013", "x = 1 + rate", "1 + rate"),
        ("FC013", "x = -rate", "-rate"),
        ("FC013", "x = rate ** 2", "rate ** 2"),
        ("FC013", "rate //= 2", "rate //= 2"),
        ("FC013", "x = sum([rate])", "sum([rate])"),
        ("FC013", "x = round(rate)", "round(rate)"),
        ("FC013", "x = range(rate)", "range(rate)"),
        ("FC013", "x = rate()", "rate()"),
        ("FC013", "x = open(rate)", "open(rate)"),
        ("FC013", "print(rate)", "print(rate)"),
        ("FC013", "x = [1, 2][rate]", "[1, 2][rate]"),
        ("FC013", "with rate: pass", "rate"),
        ("FC013", "x = load.fn(rate + 1)", "rate + 1"),
        # changed
        ("FC014", "parts.train = [1]", "parts.train"),
        ("FC014", "del parts.train", "parts.train"),
        ("FC014", "fut[0] = 1", "fut[0]"),
        ("FC014", "del fut[0]", "fut[0]"),
        ("FC014", "fut += [1]", "fut += [1]"),
        # subscripted
        ("FC015", "x = fut[0]", "fut[0]"),
        ("FC015", "x = fut[1:]", "fut[1:]"),
        ("FC015", "x = parts['train']", "parts['train']"),
        # no such attribute
        ("FC016", "x = parts.tarin", "parts.tarin"),
        ("FC016", "x = rate.mean", "rate.mean"),
        ("FC016", "fut.append(4)", "fut.append"),
        ("FC016", "x = dict(fut)", "dict(fut)"),
        ("FC016", "x = gather(**fut)", "gather(**fut)"),
    ],
)
def test_what_a_future_cannot_mean_is_refused(project, code, line, underlined):
    assert project.wrong(f"{SETUP}{line}  # !") == [f"{code} {underlined}"]


@pytest.mark.parametrize(
    "line", ["if n: pass", "for x in n: pass", "x = n == 1", "x = n + 1", "x = n[0]", "n.a = 1"]
)
def test_an_input_is_a_future_too(project, line):
    (diagnostic,) = project.refused(f"from ops import *\n@workflow\ndef main(n: int):\n    {line}\n")
    assert "input `n`" in diagnostic.message
    assert "a future" in diagnostic.labels[0].text
    assert "`int`" in diagnostic.labels[0].text


def test_a_condition_over_many_lines_is_underlined_to_the_end_of_its_first(project):
    body = """
    rate = 0.5
    model = fit([1])
    if (model
            and rate):
        load()
    """
    (diagnostic,) = project.refused(
        f"from ops import *\n@workflow\ndef main():\n{body}",
    )
    assert str(diagnostic.labels[0].place) == "flow.py:7:9"
    assert diagnostic.labels[0].place.end_column == 14


def test_a_condition_with_a_long_body_underlines_only_what_is_tested(project):
    body = """
    rate = fit([1])
    if rate:  # !
        x = load()
        y = clean(x)
    elif load:
        pass
    else:
        z = load()
    return 1
    """
    assert project.wrong(body) == ["FC010 rate"]
    assert project.wrong("rate = fit([1])\nif load is None:\n    pass\nelif rate:  # !\n    pass") == [
        "FC010 rate"
    ]
    assert project.wrong("rate = fit([1])\nx = (1 if rate  # !\n     else 2)") == ["FC010 rate"]
    assert project.wrong("rate = fit([1])\nassert rate, (  # !\n    'no')") == ["FC010 rate"]
    assert project.wrong("rate = fit([1])\nwhile rate:  # !\n    x = 1\n    y = 2") == ["FC010 rate"]
    comprehension = "[n for n in [1] if rate]"
    assert project.wrong(f"rate = fit([1])\nx = {comprehension}  # !") == [
        f"FC010 {comprehension if COARSE else 'rate'}"
    ]


def test_the_refusal_says_where_the_future_was_made(project):
    source = """
    from ops import *

    @workflow
    def main():
        rate = fit(
            [1])
        if rate:
            load()
    """
    (diagnostic,) = project.refused(source)
    here, made = diagnostic.labels
    assert str(here.place) == "flow.py:7:8"
    assert "`float`" in here.text
    assert (str(made.place), made.text) == ("flow.py:5:12", "made here")
    assert diagnostic.message.endswith("`rate` is used as a condition")


def test_a_refusal_in_a_helper_points_into_the_helper(project):
    project.write("steps.py", "def twice(x):\n    return x * 2\n")
    (diagnostic,) = project.refused(
        "from ops import *\nfrom steps import twice\n@workflow\ndef main():\n    return twice(fit([1]))\n"
    )
    assert [str(label.place) for label in diagnostic.labels] == ["steps.py:2:12", "flow.py:5:18"]


@pytest.mark.parametrize("broad", ["except Exception:", "except:", "except BaseException as e:"])
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("if rate: pass", "FC010"),
        ("x = parts.tarin", "FC016"),
        ("load(FOREIGN[0])", "FC017"),
        ("hidden()", "FC022"),
        ("odd()", "FC102"),
    ],
)
def test_a_broad_except_hides_nothing(project, broad, line, code):
    source = f"""
    from ops import *
    FOREIGN = []

    def make():
        @operator
        def hidden() -> int:
            return 1
        return hidden
    hidden = make()

    @operator
    def odd(x: 3 = 0) -> int:
        return 1

    @workflow
    def other(n: int):
        FOREIGN.append(n)
        load()

    @workflow
    def main():
        parts = split([1])
        rate = fit(parts.train)
        try:
            {line}
        {broad}
            pass
        return rate
    """
    if code == "FC017":
        project.write("flow.py", source)
        from flowc.compiler import compile_workflow
        from flowc.source import load

        other = load("flow.py:other").workflow
        compile_workflow(other)
        with pytest.raises(Refused) as refusal:
            compile_workflow(load("flow.py:main").workflow)
        found = refusal.value.diagnostics
    else:
        found = project.refused(source)
    assert [diagnostic.code for diagnostic in found] == [code]


def test_what_a_future_can_do(project):
    plan = project.main(
        """
        parts = split(load())
        same, other = parts is parts, isinstance(parts, int)
        table = {parts: 1, load: 2}
        text = repr(parts)
        assert (same, other, table[parts]) == (True, False, 1)
        assert text == "<future `parts`: Parts>", text
        assert repr(parts.train) == "<future `parts.train`: list[int]>"
        assert not hasattr(parts, "__array__")
        return parts.train
        """
    )
    assert plan.header.result == {"from": "parts", "at": ["train"]}


FIELDS = {
    "dataclass": "@dataclass\nclass Out:\n    a: int\n    b: str\n",
    "NamedTuple": "class Out(NamedTuple):\n    a: int\n    b: str\n",
    "TypedDict": "class Out(TypedDict):\n    a: int\n    b: str\n",
    "Struct": "class Out(msgspec.Struct):\n    a: int\n    b: str\n",
}


@pytest.mark.parametrize("future_annotations", [False, True])
@pytest.mark.parametrize("kind", FIELDS)
def test_the_fields_of_a_structured_result_are_futures(project, kind, future_annotations):
    source = f"""{"from __future__ import annotations" if future_annotations else ""}
from dataclasses import dataclass
from typing import NamedTuple, TypedDict
import msgspec
from flowc import operator, workflow

{FIELDS[kind]}
@operator
def make() -> Out:
    ...

@operator
def take(a: int, b: str) -> int:
    ...

@workflow
def main():
    out = make()
    return take(out.a, out.b)
"""
    plan = project.compile(source)
    assert plan.nodes[1].args == {"a": {"from": "out", "at": ["a"]}, "b": {"from": "out", "at": ["b"]}}
    assert [(s.type, s.fields) for s in plan.structures] == [("flow:Out", {"a": "int", "b": "str"})]
    assert plan.structures[0].positional == (("a", "b") if kind == "NamedTuple" else ())

    wrong = project.refused(source.replace("out.b)", "out.c)"))
    assert [(d.code, d.hint) for d in wrong] == [("FC016", "its fields are `a`, `b`")]
    wrong = project.refused(source.replace("take(out.a, out.b)", "take(out.b, out.a)"))
    assert [d.message for d in wrong] == [
        "`take` expects `int` for `a`, got `str`",
        "`take` expects `str` for `b`, got `int`",
    ]


def test_fields_of_fields_and_of_anything(project):
    source = """
    from ops import *

    @dataclass
    class Pair:
        parts: Parts
        free: Any

    @operator
    def pair() -> Pair:
        ...

    @workflow
    def main(p: Pair):
        both = pair()
        return [clean(both.parts.train), both.free.whatever.there, p.parts.test, gather().x]
    """
    plan = project.compile(source)
    assert plan.header.result == [
        {"from": "clean"},
        {"from": "both", "at": ["free", "whatever", "there"]},
        {"input": "p", "at": ["parts", "test"]},
        {"from": "gather", "at": ["x"]},
    ]
    assert [s.type for s in plan.structures] == ["flow:Pair", "ops:Parts"]


@pytest.mark.parametrize("copying", [copy.copy, copy.deepcopy, pickle.dumps])
def test_a_future_cannot_be_copied_unnoticed(project, copying):
    project.write("tools.py", "import copy, pickle\n")
    (diagnostic, *_) = project.refused(
        "from ops import *\nimport copy, pickle\n@workflow\ndef main():\n"
        f"    return {copying.__module__.lstrip('_')}.{copying.__name__}(load())\n"
    )
    assert diagnostic.code == "FC013"
