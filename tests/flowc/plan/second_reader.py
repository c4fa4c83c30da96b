"""A second reader of plans, written from `docs/formats/plan.md` alone: nothing of flowc is imported here.

It does what a tool of somebody else would: ids of nodes and sites, dependencies, levels, and types.
"""

import json
import re
from typing import NamedTuple


class Graph(NamedTuple):
    """By node id, in the order of the file: its site, the nodes that it depends on, its level."""

    sites: dict[str, str]
    depends_on: dict[str, set[str]]
    level: dict[str, int]


def read(text):
    """The graph of a plan, and its `level` rows."""
    assert text.endswith("\n")
    rows = [json.loads(line) for line in text.removesuffix("\n").split("\n")]
    assert rows[0]["kind"] == "plan"
    assert rows[0]["format"] == 1
    graph = Graph({}, {}, {})
    for node in rows:
        if node["kind"] == "node":
            sources = set(node.get("after", []))
            parts = list(node.get("args", {}).values())
            while parts:
                part = parts.pop()
                if isinstance(part, list):
                    parts += part
                elif isinstance(part, dict):
                    sources |= {part["from"]} if "from" in part else set()
                    parts += part.get("map", {}).values()
            graph.sites[node["id"]] = re.sub(r"\[[^\[\]]*\]|#[0-9]+", "", node["id"])
            graph.depends_on[node["id"]] = sources
            graph.level[node["id"]] = max((graph.level[source] + 1 for source in sources), default=0)
    return graph, [row for row in rows if row["kind"] == "level"]


def level_rows(graph):
    """The `level` rows that follow from the nodes."""
    members = {}
    for node, level in graph.level.items():
        members.setdefault(level, []).append(node)
    return [
        {
            "kind": "level",
            "level": level,
            "nodes": len(nodes),
            "sites": list(dict.fromkeys(graph.sites[node] for node in nodes)),
        }
        for level, nodes in sorted(members.items())
    ]


_PLAIN = "Any|None|bool|int|float|str|bytes|datetime|date|list|dict|tuple|set|Array"
_NAME = re.compile(rf"(?:[\w.-]+:[^\W\d][\w.]*|(?:{_PLAIN})(?![\w.]))")
_LITERAL = re.compile(r'"(?:[^"\\]|\\.)*"|-?[0-9]+|true|false|null')
_MARK = {mark: re.compile(re.escape(mark)) for mark in "[],|"}


def is_type(text):
    """Whether a text is a type expression."""
    try:
        return _Types(text).all()
    except ValueError:
        return False


class _Types:
    """The grammar of types, a method a rule. Each goes forward in the text, or raises `ValueError`."""

    def __init__(self, text):
        self.text, self.at, self.parts = text, 0, 0

    def all(self):
        self.type(0)
        return not self.text[self.at :].strip()

    def type(self, depth):
        self.term(depth)
        while self.sees("|"):
            self.term(depth)

    def term(self, depth):
        if depth > 50:
            raise ValueError(self.text)
        start = self.at
        if self.take(re.compile(r"Literal(?![\w:.-])")):
            return self.arguments(self.literal, depth)
        self.at = start
        if not self.take(_NAME):
            raise ValueError(self.text)
        return self.arguments(self.type, depth)

    def arguments(self, argument, depth):
        if self.sees("["):
            argument(depth + 1)
            while self.sees(","):
                argument(depth + 1)
            if not self.sees("]"):
                raise ValueError(self.text)

    def literal(self, _):
        json.loads(self.take(_LITERAL) or "no literal")

    def sees(self, mark):
        return self.take(_MARK[mark]) is not None

    def take(self, pattern):
        while self.text[self.at : self.at + 1].isspace():
            self.at += 1
        found = pattern.match(self.text, self.at)
        if found is None:
            return None
        self.at, self.parts = found.end(), self.parts + 1
        if self.parts > 1000:
            raise ValueError(self.text)
        return found.group()
