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
            sources = {*node.get("after", []), *node.get("when", []), *node.get("unless", [])}
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


_BUILTIN = {
    *("Any", "None", "bool", "int", "float", "str", "bytes", "date", "datetime"),
    *("list", "dict", "tuple", "set", "Array", "Literal", "Path", "Secret"),
    *("Tensor", "Dataset", "FeatureSet", "Model", "Predictions", "Metrics", "HyperparameterSet"),
    *("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64"),
}
_NUMBERS = {name for name in _BUILTIN if "int" in name or "float" in name}
# Of each note the types that take it (all, if none are named), and whether a value will do.
_NOTES = {
    **dict.fromkeys(["ge", "gt", "le", "lt"], (_NUMBERS, lambda value: type(value) in (int, float))),
    "multiple_of": (_NUMBERS, lambda value: type(value) in (int, float) and value > 0),
    **dict.fromkeys(
        ["min_length", "max_length"],
        ({"str", "bytes", "list", "dict", "set"}, lambda value: type(value) is int and value >= 0),
    ),
    "pattern": ({"str"}, lambda value: isinstance(value, str) and _is_pattern(value)),
    "column_of": ({"str"}, lambda value: isinstance(value, str)),
    "column_type": ({"str"}, lambda value: isinstance(value, str) and is_type(value)),
    **dict.fromkeys(["title", "description", "unit", "component"], (_BUILTIN, lambda value: True)),
}
_TOKEN = re.compile(
    r"""\s*(?:
    (?P<string>"(?:[^"\\]|\\.)*")
    | (?P<class>[\w.-]+:[^\W\d][\w.]*)
    | (?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)
    | (?P<variable>'[^\W\d]\w*)
    | (?P<name>[^\W\d][\w.]*)
    | (?P<mark>\.\.\.|[][,|{}():=])
    )""",
    re.VERBOSE,
)


def is_type(text):
    """Whether a text is a type expression."""
    try:
        return _Types(text).all()
    except ValueError:
        return False


def _is_pattern(text):
    try:
        re.compile(text)
    except (re.error, OverflowError):
        return False
    return True


class _Types:
    """The grammar of types, a method a rule. Each goes forward in the tokens, or raises `ValueError`."""

    def __init__(self, text):
        self.tokens, at = [], 0
        while text[at:].strip():
            found = _TOKEN.match(text, at)
            if found is None or len(self.tokens) == 10_000:
                raise ValueError(text)
            self.tokens.append((found.lastgroup, found[found.lastgroup]))
            at = found.end()
        self.tokens.append(("end", ""))
        self.tokens.reverse()

    def all(self):
        self.type(0)
        return self.tokens[-1][0] == "end"

    def type(self, depth):
        self.term(depth)
        while self.sees("|"):
            self.term(depth)

    def term(self, depth):
        self.demand(depth <= 50)
        kind, name = self.take()
        if name == "{" and kind == "mark":
            return self.record(depth)
        self.demand(kind in ("class", "variable") or (kind == "name" and name in _BUILTIN))
        if self.sees("["):
            self.argument(name, depth + 1)
            while self.sees(","):
                self.argument(name, depth + 1)
            self.demand(self.sees("]"))
        if self.sees("("):
            self.notes(name)

    def argument(self, name, depth):
        if name == "Literal":
            self.demand(not isinstance(self.scalar(), float))
        elif name == "Tensor" and re.fullmatch("0|[1-9][0-9]{0,17}", self.tokens[-1][1]):
            self.take()
        elif not (name == "Tensor" and self.sees("...")):
            self.type(depth)

    def record(self, depth):
        keys = set()
        while not self.sees("}"):
            self.demand(not keys or self.sees(","))
            kind, key = self.take()
            self.demand(kind == "string" or (kind == "name" and "." not in key))
            key = json.loads(key) if kind == "string" else key
            self.demand(key not in keys and self.sees(":"))
            keys.add(key)
            self.type(depth + 1)

    def notes(self, name):
        seen = set()
        while not seen or self.sees(","):
            _, note = self.take()
            self.demand(note in _NOTES and note not in seen and self.sees("="))
            types, will_do = _NOTES[note]
            self.demand((name in types or types is _BUILTIN) and will_do(self.scalar()))
            seen.add(note)
        self.demand(self.sees(")") and not {"ge", "gt"} <= seen and not {"le", "lt"} <= seen)

    def scalar(self):
        kind, text = self.take()
        self.demand(kind in ("string", "number") or text in ("true", "false", "null"))
        value = json.loads(text)
        self.demand(value not in (float("inf"), float("-inf")))
        return value

    def sees(self, mark):
        """Pass over a mark if it is next."""
        found = self.tokens[-1] == ("mark", mark)
        if found:
            self.tokens.pop()
        return found

    def take(self):
        """The next token; the end is never passed."""
        return self.tokens.pop() if len(self.tokens) > 1 else self.tokens[-1]

    def demand(self, met):
        if not met:
            raise ValueError
