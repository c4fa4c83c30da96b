"""Mermaid's flowcharts, read back by their few forms."""

import html
import re

from flowc.plan.graph import dependencies
from flowc.show import Options, show

NODE = re.compile(r' *(n\d+)(?:\["|\[\["|\{\{")([^"]*)(?:"\]|"\]\]|"\}\})')
EDGE = re.compile(r'  (n\d+) (?:-->|==>|-\.->)(?:\|"[\d,]+"\|)? (n\d+)')
OTHER = re.compile(
    r'flowchart TD|  subgraph s\d+\["[^"]*"\]|  end|  classDef critical \S+|  class [n\d,]+ critical'
)


def read(text):
    """The labels of the nodes, and the edges; every line must be of a known form."""
    labels, edges = {}, []
    for line in text.splitlines():
        if node := NODE.fullmatch(line):
            labels[node[1]] = html.unescape(re.sub(r"#(\d+);", r"&#\1;", node[2]))
        elif edge := EDGE.fullmatch(line):
            edges.append((edge[1], edge[2]))
        else:
            assert OTHER.fullmatch(line), line
    assert {end for ends in edges for end in ends} <= labels.keys()
    return labels, edges


def test_nodes_edges_and_scopes(study):
    plan = study()
    text = show(plan, "mermaid")
    labels, edges = read(text)
    assert len(labels) == len(plan.nodes)
    assert len(edges) == sum(map(len, dependencies(plan.nodes)))
    assert labels["n0"] == "load[a]<br/>load → list[int]"
    assert '  subgraph s1["first"]' in text.splitlines()
    assert text.count("subgraph") == text.count("  end\n") == 2


def test_hostile_names_are_labels_and_nothing_else(hostile):
    labels, edges = read(show(hostile, "mermaid"))
    assert len(labels) == 8
    assert edges == [(f"n{i}", f"n{i + 1}") for i in range(7)]
    assert labels["n1"].startswith("""a"b'c<d>&amp;]]>`e`;{f}|%%1. *g* __h__ \\n \\<br/>""")


def test_it_stays_within_what_mermaid_draws(project):
    plan = project.main("xs = [load(str(i)) for i in range(30)]\nreturn [gather(xs) for _ in range(30)]")
    labels, edges = read(show(plan, "mermaid", Options(1000)))
    assert len(edges) <= 500
    assert any("×30" in label for label in labels.values())

    name = "x" * 50
    body = "".join(f"{name}{i} = load()\n" for i in range(600))
    text = show(project.main(body + "return 1"), "mermaid", Options(10_000))
    assert len(text) <= 50_000
    read(text)
