"""Graphviz' language, checked by a small strict reader of it, and by Graphviz if it is there."""

import re
import shutil
import subprocess

import pytest

from flowc.plan.graph import dependencies
from flowc.show import Options, show

TOKEN = re.compile(r'\s*("(?:[^"\\]|\\.)*"|->|\w+|[{}\[\]=,])')


def read(text):
    """Nodes with their attributes, and edges."""
    tokens, at = [], 0
    while at < len(text.rstrip()):
        match = TOKEN.match(text, at)
        assert match, text[at : at + 40]
        tokens.append(match[1])
        at = match.end()
    assert tokens[0] == "digraph"
    assert tokens[1].startswith('"')
    nodes, edges, depth, i = {}, [], 0, 2
    while i < len(tokens):
        token = tokens[i]
        i += 1
        if token in "{}":
            depth += 1 if token == "{" else -1
            continue
        if token == "subgraph":
            i += 1
            continue
        if tokens[i] == "=":
            i += 2
            continue
        target = ""
        if tokens[i] == "->":
            target, i = tokens[i + 1], i + 2
        attributes = {}
        if i < len(tokens) and tokens[i] == "[":
            end = tokens.index("]", i)
            for group in " ".join(tokens[i + 1 : end]).split(" , "):
                name, _, value = group.partition(" = ")
                attributes[name] = value
            i = end + 1
        if target:
            edges.append((token, target))
        elif token not in ("node", "edge", "graph"):
            nodes[token] = attributes
    assert depth == 0
    return nodes, edges


def test_nodes_edges_and_scopes(study):
    plan = study()
    text = show(plan, "dot")
    nodes, edges = read(text)
    assert len(nodes) == len(plan.nodes)
    assert len(edges) == sum(map(len, dependencies(plan.nodes)))
    assert nodes["n0"]["label"] == '"load[a]\\nload → list[int]"'
    assert 'label="rest"' in text


def test_loops_of_a_group(study):
    nodes, edges = read(show(study(100), "dot", Options(6)))
    assert len(nodes) <= 6
    assert any(source == target for source, target in edges)


def test_hostile_names(hostile):
    nodes, edges = read(show(hostile, "dot"))
    assert len(nodes) == 8
    assert len(edges) == 7


@pytest.mark.skipif(shutil.which("dot") is None, reason="Graphviz is not installed")
def test_graphviz_reads_it(hostile, study):
    for plan in (hostile, study()):
        done = subprocess.run(["dot", "-Tcanon"], input=show(plan, "dot"), capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, "")
