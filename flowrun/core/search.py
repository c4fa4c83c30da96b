"""Searching runs: a small language of conditions, read into a tree and asked of each run.

    state=failed and input.lr>0.1 and (metric.accuracy>=0.9 or not tag.team=ads) and started>2026-11-01

`Wrong` says what cannot be understood, and where.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple, get_args

import msgspec

from flowrun.core.model import RunStatus

MAX_LENGTH, MAX_DEPTH = 10_000, 50
TEXTS, NUMBERS, MOMENTS, DURATIONS = "text", "number", "moment", "duration"
# The fields that every run has, and what they are; those of a namespace are what they are.
FIELDS = {
    "run": TEXTS,
    "number": NUMBERS,
    "workflow": TEXTS,
    "plan": TEXTS,
    "state": TEXTS,
    "started": MOMENTS,
    "ended": MOMENTS,
    "took": DURATIONS,
}
NAMESPACES = ("input", "metric", "tag")
STATES = (*get_args(RunStatus), "interrupted")
_TOKEN = re.compile(
    r"""\s*(?:(?P<op>!=|>=|<=|==|!~|[=<>~(),])|(?P<quoted>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?P<word>[^\s()=!<>~,"']+))"""
)
_WORDS = ("and", "or", "not", "in")
Operator = Literal["=", "!=", "<", "<=", ">", ">=", "~", "!~"]
ReadTime = Callable[[str], int | None]  # a moment or a duration in ms; None if the text is none


class Wrong(ValueError):
    """A condition that cannot be understood, from `start` to `end` of its text."""

    def __init__(self, message: str, start: int, end: int, hint: str = "") -> None:
        super().__init__(message)
        self.start, self.end, self.hint = start, end, hint


class Facts(msgspec.Struct, frozen=True):
    """What is known of a run without looking at its nodes. Times in ms; `ended` is 0 while it runs."""

    run: str
    number: int
    workflow: str
    plan: str
    state: str
    started: int
    ended: int
    took: int
    input: dict[str, Any] = {}
    metric: dict[str, float] = {}
    tag: dict[str, str] = {}


class Field(NamedTuple):
    """What is asked of a run: `state`, or a `name` in a namespace."""

    space: str
    name: str = ""

    def of(self, facts: Facts) -> Any:
        """Its value in a run; `None` if the run has none."""
        found = getattr(facts, self.space)
        if not self.name:
            return found or None if FIELDS[self.space] == MOMENTS else found
        return found.get(self.name)

    def __str__(self) -> str:
        return f"{self.space}.{self.name}" if self.name else self.space


class Compare(NamedTuple):
    """A field against a value. A run that has no such field only differs from the value."""

    field: Field
    op: Operator
    value: Any

    def holds(self, facts: Facts) -> bool:
        """Whether a run is so."""
        found = self.field.of(facts)
        if found is None:
            return self.op in ("!=", "!~")
        match self.op:
            case "~" | "!~":
                return (str(self.value).lower() in _shown(found).lower()) == (self.op == "~")
            case "=" | "!=":
                return (_alike(found, self.value) == 0) == (self.op == "=")
        order = _alike(found, self.value)
        if order is None:
            return False
        return {"<": order < 0, "<=": order <= 0, ">": order > 0, ">=": order >= 0}[self.op]


class Has(NamedTuple):
    """Whether a run has something of that name."""

    field: Field

    def holds(self, facts: Facts) -> bool:
        """Whether a run is so."""
        return self.field.of(facts) is not None


class Not(NamedTuple):
    """The opposite."""

    part: Condition

    def holds(self, facts: Facts) -> bool:
        """Whether a run is so."""
        return not self.part.holds(facts)


class AllOf(NamedTuple):
    """All of them."""

    parts: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        """Whether a run is so."""
        return all(part.holds(facts) for part in self.parts)


class AnyOf(NamedTuple):
    """At least one of them."""

    parts: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        """Whether a run is so."""
        return any(part.holds(facts) for part in self.parts)


Condition = Compare | Has | Not | AllOf | AnyOf


def parse(text: str, moment: ReadTime, duration: ReadTime) -> Condition:
    """Read a condition, or raise `Wrong`. `moment` and `duration` read what people write for times."""
    if len(text) > MAX_LENGTH:
        raise Wrong(f"a condition has at most {MAX_LENGTH} characters", 0, 0)
    return _Parser(text, moment, duration).whole()


def parse_field(text: str, start: int = 0) -> Field:
    """`state`, `input.lr`, `metric.accuracy`, `tag.team`; or raise `Wrong`."""
    space, dot, name = text.partition(".")
    end = start + len(text)
    if space in NAMESPACES:
        if not name:
            raise Wrong(f"`{text}` names nothing", start, end, f"for example `{space}.{_EXAMPLES[space]}`")
        return Field(space, name)
    if dot or space not in FIELDS:
        named = [f"`{name}.{'NAME' if dot else text}`" for name in NAMESPACES]
        known = f"they have {', '.join([f'`{name}`' for name in FIELDS] + named)}"
        raise Wrong(f"runs have no `{text}`", start, end, _closest(text, list(FIELDS)) or known)
    return Field(space)


def sort(found: list[Facts], field: Field, descending: bool) -> list[Facts]:
    """Runs by a field, those without it last; among equals, the older run first."""

    def missing(facts: Facts) -> bool:
        value = field.of(facts)
        return value is None or value != value  # not a number

    having = sorted(
        (facts for facts in found if not missing(facts)),
        key=lambda facts: _rank(field.of(facts)),
        reverse=descending,
    )
    return having + [facts for facts in found if missing(facts)]


def fields(condition: Condition) -> list[Field]:
    """The fields that a condition asks about, each once, in order."""
    match condition:
        case Compare(field=field) | Has(field=field):
            return [field]
        case Not(part=part):
            return fields(part)
        case AllOf(parts=parts) | AnyOf(parts=parts):
            return list(dict.fromkeys(field for part in parts for field in fields(part)))


_EXAMPLES = {"input": "lr", "metric": "accuracy", "tag": "team"}


class _Token(NamedTuple):
    kind: str  # op, quoted, word, end
    text: str
    start: int
    end: int


class _Parser:
    """Recursive descent: `or` binds least, then `and`, then `not`."""

    def __init__(self, text: str, moment: ReadTime, duration: ReadTime) -> None:
        self._tokens = list(_tokens(text))
        self._at = 0
        self._depth = 0
        self._read = {MOMENTS: moment, DURATIONS: duration}

    def whole(self) -> Condition:
        """The condition, with nothing after it."""
        found = self._either()
        token = self._next()
        if token.kind != "end":
            raise Wrong(f"expected `and` or `or`, got `{token.text}`", token.start, token.end)
        return found

    def _either(self) -> Condition:
        parts = [self._both()]
        while self._takes("or"):
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else AnyOf(tuple(parts))

    def _both(self) -> Condition:
        parts = [self._one()]
        while self._takes("and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else AllOf(tuple(parts))

    def _one(self) -> Condition:
        self._depth += 1
        token = self._tokens[self._at]
        if self._depth > MAX_DEPTH:
            raise Wrong(f"conditions are at most {MAX_DEPTH} deep", token.start, token.end)
        found = self._inner()
        self._depth -= 1
        return found

    def _inner(self) -> Condition:
        if self._takes("not"):
            return Not(self._one())
        token = self._next()
        if token.text == "(" and token.kind == "op":
            found = self._either()
            self._demand(")")
            return found
        if token.kind != "word" or token.text in _WORDS:
            said = f"`{token.text}`" if token.text else "the end"
            raise Wrong(f"expected a field, got {said}", token.start, token.end, "for example `state=failed`")
        return self._comparison(token)

    def _comparison(self, token: _Token) -> Condition:
        field = parse_field(token.text, token.start)
        following = self._tokens[self._at]
        if self._takes("in"):
            self._demand("(")
            values = [self._value(field)]
            while self._takes(","):
                values.append(self._value(field))
            self._demand(")")
            return AnyOf(tuple(Compare(field, "=", value) for value in values))
        if following.kind != "op" or following.text in "(),":
            if field.name:
                return Has(field)
            text = following.text or "the end"
            hint = f"for example `{field}=...`"
            raise Wrong(f"expected a comparison after `{field}`, got {text}", token.start, token.end, hint)
        op = self._next().text.replace("==", "=")
        return Compare(field, op, self._value(field, op))  # type: ignore[arg-type]

    def _value(self, field: Field, op: str = "=") -> Any:
        token = self._next()
        if token.kind not in ("word", "quoted"):
            got = f"`{token.text}`" if token.text else "the end"
            raise Wrong(f"expected a value for `{field}`, got {got}", token.start, token.end)
        text = token.text
        if token.kind == "quoted":
            text = re.sub(r"\\(.)", r"\1", text[1:-1])
        kind = "" if field.name else FIELDS[field.space]
        if op in ("~", "!~") or (kind == "" and token.kind == "quoted"):
            return text
        if kind in self._read:
            ms = self._read[kind](text)
            if ms is None:
                raise Wrong(f"`{text}` is no {kind}", token.start, token.end, _HINTS[kind])
            return ms
        if field.space == "state" and text not in STATES:
            known = ", ".join(f"`{state}`" for state in STATES)
            hint = _closest(text, STATES) or f"there are {known}"
            raise Wrong(f"runs are never `{text}`", token.start, token.end, hint)
        if kind == NUMBERS and not isinstance(_literal(text), (int, float)):
            raise Wrong(f"`{text}` is no number", token.start, token.end)
        return text if kind == TEXTS else _literal(text)

    def _next(self) -> _Token:
        token = self._tokens[self._at]
        self._at += token.kind != "end"
        return token

    def _takes(self, text: str) -> bool:
        token = self._tokens[self._at]
        found = token.text == text and token.kind != "quoted"
        self._at += found
        return found

    def _demand(self, text: str) -> None:
        token = self._tokens[self._at]
        if not self._takes(text):
            got = f"`{token.text}`" if token.text else "the end"
            raise Wrong(f"expected `{text}`, got {got}", token.start, token.end)


_HINTS = {
    MOMENTS: "for example `2026-11-01`, `2026-11-01T09:30`, or `-2h`: two hours ago",
    DURATIONS: "for example `90s`, `10min`, `1h 30min` in quotes",
}


def _tokens(text: str) -> list[_Token]:
    found, at = [], 0
    while text[at:].strip():
        match = _TOKEN.match(text, at)
        if match is None or match.lastgroup is None:
            start = at + len(text[at:]) - len(text[at:].lstrip())
            unclosed = text[start] in "\"'"
            message = "this quote has no end" if unclosed else f"`{text[start]}` has no meaning here"
            raise Wrong(message, start, len(text) if unclosed else start + 1)
        group = match.lastgroup
        found.append(_Token(group, match[group], match.start(group), match.end(group)))
        at = match.end()
    return [*found, _Token("end", "", len(text), len(text) + 1)]


def _literal(text: str) -> Any:
    """A number or truth if it looks like one, else the text."""
    if text in ("true", "false"):
        return text == "true"
    try:
        return int(text)
    except ValueError:
        pass
    try:
        return float(text)
    except ValueError:
        return text


def _alike(found: Any, value: Any) -> int | None:
    """-1, 0, 1 as the first is less, equal or more; `None` if they cannot be compared.

    A tag is text, whatever it looks like: it is compared as the value that it is compared with.
    """
    if isinstance(found, str) and not isinstance(value, str):
        found = _literal(found)
    if isinstance(found, bool) != isinstance(value, bool):
        return None
    if isinstance(found, (int, float)) != isinstance(value, (int, float)):
        if not isinstance(value, str):
            return None
        found = _shown(found)
    if not isinstance(found, (int, float, str)):
        found, value = _shown(found), str(value)
    if found == value:
        return 0
    try:
        return -1 if found < value else 1 if found > value else None  # None: not a number
    except TypeError:
        return None


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _rank(value: Any) -> tuple[int, Any]:
    """A total order over values of several types: numbers first."""
    return (0, value) if isinstance(value, (int, float)) else (1, _shown(value))


def _closest(text: str, known: Mapping[str, Any] | list[str] | tuple[str, ...]) -> str:
    from difflib import get_close_matches

    close = get_close_matches(text, list(known), 1)
    return f"did you mean `{close[0]}`?" if close else ""
