"""Plans to draw: nested and looping ones, a large one, and one whose names mean mischief."""

import pytest

from flowc.plan.codec import decode, encode
from flowc.plan.graph import dependencies, levels
from flowc.plan.model import Header, Node, Plan, Resources, Site, Span

NAMES = [
    "plain",
    """a"b'c<d>&amp;]]>`e`;{f}|%%1. *g* __h__ \\n \\""",
    "</script><script>alert(1)</script>",
    "</style>-->",
    "日本語の名前",
    "end",
    "\x1b[2J\x00\ufffe",
    "x" * 300,
]


@pytest.fixture
def hostile():
    """A chain of nodes with such names, in such scopes. No compiler wrote it, but readers accept it."""
    ids = [name if i % 2 else f"sc{name}/{name}" for i, name in enumerate(NAMES)]
    ops = [f"m:{name.replace(':', '')}" for name in NAMES]
    sites = tuple(
        Site(name, op, "0" * 16, {name: "Any"}, needs=Resources(gpus=2))
        for name, op in zip(ids, ops, strict=True)
    )
    nodes = tuple(
        Node(name, {name: [{"from": ids[i - 1]} if i else NAMES[1], NAMES[2]]}) for i, name in enumerate(ids)
    )
    spans = tuple(Span(name, "<a>&.py:1:2") for name in ids)
    header = Header(1, f"m:{NAMES[1].replace(':', '')}")
    plan = Plan(header, (), sites, nodes, levels(nodes, dependencies(nodes)), spans)
    return decode(encode(plan), "hostile.plan.jsonl")


STUDY = """
from ops import *

@operator(gpus=1)
def train(data: Any, width: int) -> float: ...

@operator
def score(model: float, data: Any) -> float: ...

def study(data, widths):
    parts = split(data)
    scores = []
    for width in widths:
        model = train(parts.train, width)
        scores.append(score(model, parts.test))
    return gather(scores)

@workflow
def main():
    data = [clean(load(name)) for name in ("a", "b", "c")]
    table = gather(data)
    state = load("state")
    for epoch in range(EPOCHS):
        changed = clean(state)
        state = gather(changed, table)
    first = study(data[0], range(2))
    rest = [study(x, range(3)) for x in data]
    return first, rest, state
"""


@pytest.fixture
def study(project):
    """44 nodes in nested scopes, with loops; a loop of many rounds if asked for."""
    return lambda epochs=3: project.compile(STUDY.replace("EPOCHS", str(epochs)))
