"""Type errors: between operators, of literals, at the part that is wrong, with a hint that works."""

# ruff: noqa: E501 - a case a line

import pytest

from flowc.compiler import Options, compiled
from flowc.plan.diagnostics import Refused
from flowc.plan.host import Capacity, Cluster, Gpu
from flowc.source import load
from flowc.timing import Stopwatch


@pytest.mark.parametrize(
    ("call", "underlined", "message"),
    [
        ("load(3)", "3", "`load` expects `str` for `path`, got `int`"),
        ("load(path=None)", "None", "`load` expects `str` for `path`, got `None`"),
        ("clean('no')", "'no'", "`clean` expects `list[int]` for `data`, got `str`"),
        ("clean(rate)", "rate", "`clean` expects `list[int]` for `data`, got `float`"),
        ("clean(n)", "n", "`clean` expects `list[int]` for `data`, got `str | None`"),
        ("clean(split([1]))", "split([1])", "`clean` expects `list[int]` for `data`, got `Parts`"),
        ("fit(rate=True, data=[1])", "True", "`fit` expects `float` for `rate`, got `bool`"),
        ("clean(load)", None, None),
        # parts
        ("clean([1, 'b', 3])", "'b'", "`clean` expects `int` for `data[1]`, got `str`"),
        ("clean([1, rate])", "rate", "`clean` expects `int` for `data[1]`, got `float`"),
        ("clean((1, 'b'))", "'b'", "`clean` expects `int` for `data[1]`, got `str`"),
        ("clean([1, *['b']])", "[1, *['b']]", "`clean` expects `int` for `data[1]`, got `str`"),
        ("clean([n for n in 'a'])", "[n for n in 'a']", "`clean` expects `int` for `data[0]`, got `str`"),
        ("clean(*[['b']])", "clean(*[['b']])", "`clean` expects `int` for `data[0]`, got `str`"),
        ("clean(**{'data': 3})", "clean(**{'data': 3})", "`clean` expects `list[int]` for `data`, got `int`"),
        ("deep({'a': [1], 'b': [2, '3']})", "'3'", "`deep` expects `int` for `table['b'][1]`, got `str`"),
        ("deep({'a': [1], **{'b': 2}})", "{'a': [1], **{'b': 2}}", "`deep` expects `list[int]` for `table['b']`, got `int`"),
        ("deep({'a': 1, 'a': 2})", "2", "`deep` expects `list[int]` for `table['a']`, got `int`"),
        ("pair((1, 2))", "2", "`pair` expects `str` for `both[1]`, got `int`"),
        ("pair((1, 'b', 3))", "(1, 'b', 3)", "`pair` expects `tuple[int, str]` for `both`, got `list[int | str]`"),
        ("one('c')", "'c'", '`one` expects `Literal["a", "b"]` for `of`, got `str`'),
        ("one(text())", "text()", '`one` expects `Literal["a", "b"]` for `of`, got `str`'),
        ("day('yesterday')", "'yesterday'", "`day` expects `date` for `of`, got `str`"),
    ],
)  # fmt: skip
def test_the_part_that_is_wrong_is_underlined(project, call, underlined, message):
    if underlined is None:
        assert project.wrong(f"{call}  # !") == [f"FC021 {call[6:-1]}"]
        return
    source = f"""
from datetime import date
from typing import Literal
from ops import *

@operator
def deep(table: dict[str, list[int]]) -> int: ...
@operator
def pair(both: tuple[int, str]) -> int: ...
@operator
def one(of: Literal["a", "b"]) -> int: ...
@operator
def day(of: date) -> int: ...
@operator
def text() -> str: ...

@workflow
def main(n: str | None = None):
    rate = fit([1])
    {call}
"""
    (diagnostic,) = project.refused(source)
    place = diagnostic.labels[0].place
    line = (project.folder / "flow.py").read_text().splitlines()[place.line - 1]
    assert diagnostic.code == "FC101"
    assert line[place.column - 1 : place.end_column - 1] == underlined
    assert diagnostic.message == message


@pytest.mark.parametrize(
    "call",
    [
        "clean(())",
        "clean([])",
        "clean(gather())",
        "clean([1, gather()])",
        "fit([1], 1)",
        "fit([1], n)",
        "gather(object, fit)",
        "load(load.name)",
        "clean(split([1]).train)",
    ],
)
def test_what_fits_is_not_complained_of(project, call):
    plan = project.main(f"{call.replace('object, fit', '1, {}')}", "n: int = 3")
    assert plan.nodes


def test_where_the_value_was_made_is_shown(project):
    source = "from ops import *\n@workflow\ndef main():\n    parts = split([1])\n    return clean([parts])\n"
    (diagnostic,) = project.refused(source)
    assert [(str(label.place), label.text) for label in diagnostic.labels] == [
        ("flow.py:5:19", "this is `Parts`"),
        ("flow.py:4:13", "made here"),
    ]


@pytest.mark.parametrize(
    ("body", "hint"),
    [
        ("parts = split([1])\nclean(parts)", "pass `parts.train` or `parts.test`"),
        ("parts = split([1])\nload(parts)", ""),
        ("clean(p)", "pass `p.train` or `p.test`"),
        ("clean(split([1]))", "pass its field `train` or `test`"),
        ("for i in range(1):\n    parts = split([1])\n    clean(parts)", "pass its field `train` or `test`"),
        (
            "def f():\n    parts = split([1])\n    return parts\nx = f()\nclean(x)",
            "pass its field `train` or `test`",
        ),
    ],
)
def test_the_hint_is_something_that_can_be_written(project, body, hint):
    indented = body.replace("\n", "\n    ")
    (diagnostic,) = project.refused(f"from ops import *\n@workflow\ndef main(p: Parts):\n    {indented}\n")
    assert diagnostic.hint == hint


def test_two_classes_of_one_name_are_told_apart(project):
    source = """
    import ops
    from ops import *

    @dataclass
    class Parts:
        other: int

    @operator
    def take(parts: Parts) -> int: ...

    @workflow
    def main():
        take(split([1]))
    """
    (diagnostic,) = project.refused(source)
    assert diagnostic.message == "`take` expects `flow:Parts` for `parts`, got `ops:Parts`"


def test_a_class_goes_where_its_base_is_expected(project):
    source = """
    from ops import *

    class Base: ...
    class Derived(Base): ...

    @operator
    def base() -> Base: ...
    @operator
    def derived() -> Derived: ...
    @operator
    def take(one: Base) -> int: ...
    @operator
    def demand(one: Derived) -> int: ...

    @workflow
    def main():
        take(derived())
        demand({})
    """
    assert len(project.compile(source.replace("{}", "derived()")).nodes) == 3 + 1
    (diagnostic,) = project.refused(source.replace("{}", "base()"))
    assert diagnostic.message == "`demand` expects `Derived` for `one`, got `Base`"


def test_what_a_host_could_never_run_is_told_once_for_each_operator(project):
    source = """
    from ops import *

    @operator(cpus=16)
    def many(data: list[int]) -> list[int]: ...

    @operator(memory="2GB", gpus=1)
    def large(data: list[int]) -> list[int]: ...

    @workflow
    def main():
        return [many(load()), large(many(load())), clean(load())]
    """
    project.compile(source)
    options = Options(hosts=Cluster(((Capacity(8, 1000), 1),)))
    with pytest.raises(Refused) as refusal:
        compiled(load("flow.py:main").workflow, options, Stopwatch(lambda: 0.0))
    assert [(d.code, d.message) for d in refusal.value.diagnostics] == [
        ("FC304", "`many` needs 16 CPUs, and there are 8"),
        ("FC304", "`large` needs 2048 MB of memory, and there are 1000"),
    ]
    larger = Options(hosts=Cluster(((Capacity(16, 4096, (Gpu(0),)), 1),)))
    assert compiled(load("flow.py:main").workflow, larger, Stopwatch(lambda: 0.0)).plan == project.plan(
        "flow.py:main"
    )
