"""What notebooks show."""

import base64
import re

import pytest

import flowc
from flowc.plan.codec import encode, read
from flowc.plan.diagnostics import Refused
from flowc.show import Options, show
from flowc.source import load


def drawn(page):
    """The SVG in an image of a page."""
    return base64.b64decode(re.search(r"base64,([^\"]*)", page)[1]).decode()


def test_a_workflow_draws_itself(project, study):
    study()
    workflow = load("flow.py:main").workflow
    svg = drawn(workflow._repr_html_())
    assert svg.startswith("<svg ")
    assert "first/model[1]" in svg


def test_a_wrong_workflow_says_what_is_wrong(project):
    project.write("flow.py", "from ops import *\n\n@workflow\ndef main(n: int):\n    return clean(n)\n")
    page = load("flow.py:main").workflow._repr_html_()
    assert page.startswith("<pre>error[FC101]")
    assert "&gt; flow.py:5:" in page


def test_plans_and_plan_files_are_drawn(project, study):
    compiled = study()
    (project.folder / "main.plan.jsonl").write_bytes(encode(compiled))
    plan = read("main.plan.jsonl")
    for what in (compiled, plan, "main.plan.jsonl", project.folder / "main.plan.jsonl"):
        picture = flowc.draw(what)
        assert picture._repr_svg_() == show(plan, "svg")
        assert drawn(picture._repr_html_()) == picture._repr_svg_()
        assert repr(picture) == show(plan).rstrip("\n")
    assert flowc.draw(plan, max_nodes=5)._repr_svg_() == show(plan, "svg", Options(5))
    with pytest.raises(Refused):
        flowc.draw("nothing.plan.jsonl")
