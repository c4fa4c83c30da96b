"""Incremental compilation: whatever is edited, the bytes or diagnostics are those of a clean compilation.

Every case is a project and edits of it, one after the other; each time both sides see the files as a new
process would. `again` tells which nodes were traced: the others were taken over.
"""

import ast
import re
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowc import keeping
from flowc.build import compiled_bytes
from flowc.compiler import Options, Spoilt, compile_workflow
from flowc.kept import Known, read_known, write_known
from flowc.plan.codec import encode
from flowc.plan.diagnostics import Refused, in_order
from flowc.source import load
from flowc.timing import Stopwatch


def compile_again(workflow, root, known):
    """The bytes of a plan, with what was kept, and what to keep."""
    return compiled_bytes(workflow, Options(root), Stopwatch(time.perf_counter), known)


OPS = """
from dataclasses import dataclass
from typing import Any
from flowc import operator, workflow, foreach, reduce, when, on_failure, finally_

@dataclass
class Parts:
    train: list[int]
    test: list[int]

@operator
def load(path: Any = "") -> list[int]:
    return [1, 2, 3]

@operator
def split(data: list[int]) -> Parts:
    return Parts(data, data)

@operator(retries=1, cpus=2)
def fit(data: Any, rate: float = 0.1) -> float:
    return rate

@operator
def positive(x: float) -> bool:
    return x > 0

@operator
def show(items: Any = None, more: Any = None) -> Any:
    return items
"""
HEAD = "from ops import *\n"


@pytest.fixture
def again(project, monkeypatch):
    """Write files and compile `flow.py:main` both ways; give the ids that were traced, or the diagnostics."""
    monkeypatch.setattr(keeping, "LEAST_NODES", 0)
    monkeypatch.setattr(keeping, "_LEAST_OF_PARTITION", 1)
    project.write("ops.py", OPS)
    index, plan = project.folder / ".flow" / "it.cache", project.folder / "it.plan.jsonl"

    def loaded():
        project.forget()
        return load("flow.py:main")

    def clean():
        source = loaded()
        try:
            return encode(compile_workflow(source.workflow, source.root))
        except Refused as refusal:
            return in_order(refusal.diagnostics)

    def incremental():
        try:
            try:
                source = loaded()
                compiled = compile_again(source.workflow, source.root, read_known(index, plan))
            except Spoilt:
                source = loaded()
                compiled = compile_again(source.workflow, source.root, Known())
        except Refused as refusal:
            return in_order(refusal.diagnostics), None
        plan.write_bytes(compiled.data)
        write_known(index, Known(compiled.data, compiled.kept))
        return compiled.data, [node.id for node in compiled.plan.nodes]

    def again(flow, **files):
        for name, text in {"flow": flow, **files}.items():
            project.write(f"{name}.py", text)
        expected = clean()
        found, traced = incremental()
        assert found == expected
        return traced if traced is not None else [diagnostic.code for diagnostic in found]

    return again


# What edits are made of in most tests: two workflows that `main` calls.
FLOW = """
from ops import *
from helpers import *

@workflow
def prepare(path: str, times: int = 2):
    data = load(path)
    for i in range(times):
        data = load(data)
    return split(data)

@workflow
def study(parts: Parts, rates: list[float]):
    fitted = [fit(parts.train, rate) for rate in rates]
    return show(fitted, LABEL)

@workflow
def main():
    parts = prepare("a")
    first = study(parts, RATES)
    second = study(parts, [scaled(2)])
    return show(first, second)
"""
HELPERS = """
LABEL = "x"
RATES = [0.1, 0.2]
FACTOR = 3

def scaled(n: float, by: float = 1.0) -> float:
    return n * by * FACTOR
"""


def test_nothing_is_traced_when_nothing_has_changed(again):
    assert len(again(FLOW, helpers=HELPERS)) == 10
    assert again(FLOW, helpers=HELPERS) == []


EDITS = {
    "an operator's body": ("ops", "return rate", "return rate + 1", ""),
    "a comment in an operator": ("ops", "return rate", "return rate  # now", ""),
    "an operator's imports": ("ops", "    return rate", "    import numpy\n    return rate", ""),
    "an operator's declaration": ("ops", "retries=1", "retries=2", "first second show"),
    "an operator's parameter": ("ops", "rate: float = 0.1", "rate: Any = 0.1", "first second show"),
    "an operator's default": ("ops", "rate: float = 0.1", "rate: float = 0.3", ""),
    "a required parameter": ("ops", "rate: float = 0.1", "rate: float", "first second show"),
    "an operator's result": ("ops", "float) -> bool", "float) -> Any", ""),
    "the type of a field": ("ops", "test: list[int]", "test: list[str]", "parts first second show"),
    "another field": ("ops", "test: list", "more: int\n    test: list", "parts first second show"),
    "a workflow's body": ("flow", "return split(data)", "return split(load(data))", None),
    "a local variable's name": ("flow", "fitted", "trained", None),
    "a default argument": ("flow", "times: int = 2", "times: int = 3", None),
    "a default argument's keyword": ("helpers", "n: float, by", "n: float, *, by", "show"),
    "the bounds of a loop": ("flow", "range(times)", "range(times + 1)", None),
    "a global constant": ("helpers", '"x"', '"y"', "first second show"),
    "a constant of the caller": ("helpers", "0.2]", "0.3]", None),
    "a list that is changed when imported": ("helpers", "FACTOR", "RATES.append(0.5)\nFACTOR", None),
    "a constant of a function of the caller": ("helpers", "FACTOR = 3", "FACTOR = 4", "second show"),
    "a function of the caller": ("helpers", "n * by", "n + by", None),
    "a default of a function": ("helpers", "by: float = 1.0", "by: float = 1.5", "second show"),
    "the name of a call": ("flow", "    first = s", "    one = s", None),
    "an argument of a call": ("flow", 'prepare("a")', 'prepare("b")', "parts show"),
    "a call before": ("flow", "    parts = prep", "    load('x')\n    parts = prep", "load show"),
    "a call of an operator that moves levels": ("flow", 'prepare("a")', 'prepare(load("a"))', None),
    "a call of the same workflow before": (
        "flow",
        "    first =",
        "    zero = study(parts, [])\n    first =",
        None,
    ),
    "a call of the same name before": (
        "flow",
        "    first =",
        "    first = study(parts, [])\n    first =",
        None,
    ),
    "a call after": ("flow", "    return show(first", "    load()\n    return show(first", "load show"),
    "a call less": ("flow", "second = study(parts, [scaled(2)])", "second = 3", None),
    "the order of calls": (
        "flow",
        '    parts = prepare("a")',
        '    b = prepare("b")\n    parts = prepare("a")',
        None,
    ),
    "a comment on top": ("flow", "from ops", "# hello\n\nfrom ops", ""),
    "a comment within": ("flow", "    data = load(path)", "    # hello\n    data = load(path)", None),
    "a space within": ("flow", "load(path)", "load( path )", None),
    "a line break within": ("flow", "load(path)", "load(\n        path\n    )", None),
    "a docstring": ("flow", "    data = load(path)", '    """Hello."""\n    data = load(path)', None),
    "an operator that moves": ("ops", "@operator\ndef load", "\n\n\n@operator\ndef load", ""),
    "an operator's other name": ("ops", "def positive", "def negative", ""),
    "a mistake": ("flow", "fit(parts.train, rate)", "fit(parts.train, rate, 3)", "FC020"),
    "a wrong type": ("flow", "load(data)", "fit(data, data)", "FC101 FC101"),
    "a wrong field": ("ops", "    train:", "    training:", "FC016"),
    "an exception": ("helpers", "return n", "return 1 / 0", "FC018"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_and_back(again, edit):
    where, old, new, expected = EDITS[edit]
    sources = {"flow": FLOW, "helpers": HELPERS, "ops": OPS}
    again(**sources)
    assert old in sources[where]
    changed = {**sources, where: sources[where].replace(old, new)}
    traced = again(**changed)
    if expected is not None:
        assert traced == expected.split() or calls_in(traced) == expected.split()
    again(**changed)
    again(**sources)


def calls_in(ids):
    """What `main` calls, of some nodes."""
    return list(dict.fromkeys(node.partition("/")[0].partition("[")[0] for node in ids))


def test_edits_one_upon_the_other(again):
    sources = {"flow": FLOW, "helpers": HELPERS, "ops": OPS}
    again(**sources)
    for where, old, new, _ in EDITS.values():
        if old in sources[where]:
            before, sources[where] = sources[where], sources[where].replace(old, new, 1)
            if any(found.startswith("FC") for found in again(**sources)):
                sources[where] = before
    assert again(**sources) == []


CASES = re.split(r"\n## ", (Path(__file__).parent / "incremental.md").read_text(encoding="utf-8"))
MORE = re.findall(r"```python\n(.*?)```", CASES[0], re.DOTALL)[0]


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.partition("\n")[0])
def test_a_hard_case(again, case):
    """There and back again: every version follows the one before, and each other on the way back."""
    sources = {"flow": HEAD + case.partition("```python\n")[2].partition("```")[0]}
    sources |= {"more": MORE, "statistics": "", "ops": OPS}
    again(**sources)
    again(**sources)
    seen = [dict(sources)]
    edits = re.findall(r"^- (?:(\w+)\.py: )?`(.*) -> (.*)`$", case, re.MULTILINE)
    assert edits
    for where, old, new in edits:
        before = sources[where or "flow"]
        sources[where or "flow"] = before.replace(ast.literal_eval(old), ast.literal_eval(new))
        assert sources[where or "flow"] != before
        again(**sources)
        seen.append(dict(sources))
    for version in (*reversed(seen), seen[-1]):
        again(**version)


# Random projects: what `main` and the workflows `w0` to `w2` do, line by line, and edits of lines.
WORKFLOWS = ["w0", "w1", "w2", "main"]
VALUES = ["1", "N", "M[0]", "helped(2)", "len(M)", "x", "a", "b", "c", "[a, x]", "(b, N)", "i"]
CALLS = ["load({0})", "split({0})", "fit({0}, rate={1})", "show({0}, more={1})", "show({0}, after={1})"]
CALLS += [
    "w0({0})",
    "w1({0})",
    "w2({0})",
    "when(cond, lambda: w0({0}), lambda: show({1}))",
    "foreach(show, [{0}, {1}])",
]
LINES = [
    "{2} = {3}",
    "{2} = [{3} for i in range(N)]",
    "for i in range(2):\n        {2} = {3}",
    "for x in list(M):\n        {3}",
]
LINES += [
    "{2} = (lambda: {3})()",
    "if N > 1:\n        {2} = {3}",
    "{2} = split({0}).train",
    "on_failure(lambda: {3})",
]
LINES += [
    "finally_(lambda: {3}, of=cond)",
    "M.append(1)",
    "return {0}",
    "{2} = foreach(fit, load({0}))",
    "# {0}",
    "",
]


def lines(draw, level):
    """A line of the workflow of a level, which calls only those below."""
    values = [draw(st.sampled_from(VALUES)) for _ in range(2)]
    call = draw(
        st.sampled_from([call for call in CALLS if not any(w + "(" in call for w in WORKFLOWS[level:])])
    )
    return draw(st.sampled_from(LINES)).format(*values, draw(st.sampled_from("abc")), call.format(*values))


def rendered(heads, bodies):
    parts = [HEAD, "N = {}\nM = [1, {}]\n\ndef helped(n): return n * {}\n".format(*heads)]
    for name, body in zip(WORKFLOWS, bodies, strict=True):
        parameters = "" if name == "main" else "x"
        first = ["a = b = c = i = x = 0"] if name == "main" else ["a = b = c = i = x"]
        written = "\n    ".join([*first, "cond = positive(0.5)", *body])
        parts.append(f"\n@workflow\ndef {name}({parameters}):\n    {written}\n")
    return "".join(parts)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_random_edits_of_random_projects(again, data):
    draw = data.draw
    heads = [draw(st.integers(1, 3)) for _ in range(3)]
    bodies = [[lines(draw, level) for _ in range(draw(st.integers(1, 4)))] for level in range(4)]
    again(rendered(heads, bodies))
    for _ in range(6):
        level = draw(st.integers(-1, 3))
        if level < 0:
            heads[draw(st.integers(0, 2))] = draw(st.integers(1, 3))
        else:
            at = draw(st.integers(0, len(bodies[level])))
            bodies[level][at : at + draw(st.integers(0, 1))] = [lines(draw, level)] * draw(st.integers(0, 1))
        again(rendered(heads, bodies))
