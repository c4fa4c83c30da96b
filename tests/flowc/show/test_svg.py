"""The drawing as an SVG file."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from flowc.plan.codec import encode, read
from flowc.plan.graph import dependencies
from flowc.show import Options, show

SVG = "{http://www.w3.org/2000/svg}"


def parsed(plan, most=300):
    return ElementTree.fromstring(show(plan, "svg", Options(most)))


def of_class(root, name):
    return [element for element in root.iter() if name in element.get("class", "").split()]


def words(element):
    return "".join(element.itertext())


def test_every_node_and_edge_is_there(study):
    plan = study()
    root = parsed(plan)
    nodes = of_class(root, "node")
    assert [words(node.find(f"{SVG}title")).split("\n")[0] for node in nodes] == [n.id for n in plan.nodes]
    assert len([edge for edge in of_class(root, "edge") if edge.get("data-e")]) == sum(
        map(len, dependencies(plan.nodes))
    )


def test_what_a_box_says(study):
    root = parsed(study())
    model = next(node for node in of_class(root, "node") if "first/model[1]" in words(node))
    assert [words(text) for text in model.iter(f"{SVG}text")] == [
        "first/",
        "model[1]",
        "train → float",
        "1 gpu",
    ]
    title = words(model.find(f"{SVG}title"))
    assert title.split("\n")[:3] == [
        "first/model[1]",
        "flow:train(data: Any, width: int) → float",
        "1 cpu, 1 gpu",
    ]
    assert re.search(r"flow\.py:\d+:\d+", title)


def test_loops_and_the_longest_path_are_marked(study):
    root = parsed(study(100), 40)
    assert of_class(root, "backward")
    assert any("×100" in words(node) for node in of_class(root, "node"))
    critical = [edge for edge in of_class(root, "critical") if "edge" in edge.get("class").split()]
    assert critical
    assert "by site" in words(root)


def test_hostile_names_are_text_and_nothing_else(hostile):
    text = show(hostile, "svg")
    root = ElementTree.fromstring(text)
    assert {element.tag.removeprefix(SVG) for element in root.iter()} <= {
        *("svg", "title", "style", "g", "rect", "path", "text", "tspan")
    }  # fmt: skip
    assert "</script><script>" in words(root)
    assert "\x1b" not in text
    assert "日本語の名前" in text


def test_a_long_name_is_shortened_but_told(hostile):
    root = parsed(hostile)
    assert max(len(words(text)) for text in root.iter(f"{SVG}text")) < 150
    assert "x" * 300 in words(root)


@pytest.mark.parametrize("form", ["svg", "html", "mermaid", "dot", "tree", "levels"])
def test_the_bytes_follow_from_the_plan_alone(study, project, form):
    (project.folder / "plan.jsonl").write_bytes(encode(study(100)))
    plan = read("plan.jsonl")
    code = f"import flowc.cli, sys; sys.argv[1:] = ['show', 'plan.jsonl', '-f', {form!r}]; flowc.cli.main()"
    found = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8"},
            capture_output=True,
            check=True,
        ).stdout.decode()
        for seed in ("1", "2")
    ]
    assert found == [show(plan, form)] * 2


def test_the_picture_in_the_documents_is_current():
    root = Path(__file__).parents[3]
    drawn = show(read(root / "plans/iris.plan.jsonl"), "svg")
    committed = (root / "docs/pictures/iris.svg").read_text(encoding="utf-8")
    assert committed == drawn, "flowc show plans/iris.plan.jsonl -o docs/pictures/iris.svg"


def test_a_plan_without_nodes(project):
    assert of_class(parsed(project.main("return 1")), "node") == []
