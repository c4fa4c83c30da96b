"""Reading `teams.toml`: who shares the host and how. Every mistake in it is shown where it stands."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_type_hints

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, refuse
from flowc.plan.text import printable
from flowrun.core.model import Capacity
from flowrun.core.scheduler.order import Fair
from flowrun.core.sharing.check import Problem, problems, problems_on
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Preemption, Queue, Sharing, Team, Tiers

_SECTIONS = {"tiers": Tiers, "fairness": Fairness, "preemption": Preemption, "queue": Queue}
_TWICE = re.compile(r"Cannot declare \('teams', '(.*?)'\) twice \(at line (\d+)")
_AT = re.compile(r" \(at (?:line (\d+), column (\d+)|end of document)\)")
_HEADER = re.compile(r"\s*\[\s*(.+?)\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")
_NAME = re.compile(r"""[\w-]+|"[^"]*"|'[^']*'""")


def read(path: Path, capacity: Capacity) -> Sharing:
    """The configuration in a file, sound on a host of some capacity; `Refused` (FR120 to FR126) if not."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        refuse("FR120", f"cannot read the team configuration `{path}`: {error.strerror}")
    except UnicodeDecodeError:
        refuse("FR120", f"the team configuration `{path}` is not UTF-8 text")
    return parse(text, str(path), amounts(capacity))


def parse(text: str, file: str, resources: Mapping[str, float]) -> Sharing:
    """The configuration that a text says, for a host with these amounts; `file` is named in diagnostics."""
    table = _toml(text, file)
    places = _places(text)
    found: list[Problem] = []
    parts: dict[str, Any] = {}
    for key, value in table.items():
        if key == "teams":
            parts[key] = _teams(value, found)
        elif key in _SECTIONS:
            parts[key] = _struct(_SECTIONS[key], value, (key,), found)
        else:
            found.append(_unknown(key, ["teams", *_SECTIONS], (key,), "the configuration"))
    sharing = Sharing(**parts)
    if "teams" not in parts or not any(problem.where == ("teams",) for problem in found):
        found += problems(sharing)
    found = found or problems_on(sharing, resources)
    if not found:
        return sharing
    raise Refused(*(_diagnostic(problem, file, places) for problem in found))


def fair(sharing: Sharing, capacity: Capacity) -> Fair:
    """The order in which teams get places on a host."""
    return Fair(Shares(sharing, amounts(capacity)), min((gpu.memory_mb for gpu in capacity.gpus), default=0))


def amounts(capacity: Capacity) -> dict[str, float]:
    """What there is to share, by the names that quotas use."""
    return {"cpus": capacity.cpus, "memory_mb": capacity.memory_mb, "gpus": len(capacity.gpus)}


def _toml(text: str, file: str) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        if twice := _TWICE.match(message):
            name, line = twice[1], int(twice[2])
            first = next(at for key, at in _keys(text) if key == ("teams", name))
            again = Label(Place(file, line), "and here again")
            refuse(
                "FR123",
                f"team `{name}` is declared twice",
                again,
                Label(Place(file, *first), "declared here"),
                hint="put what both say into one table",
            )
        at = _AT.search(message)
        place = Place(file, int(at[1]), int(at[2])) if at and at[1] else Place(file)
        refuse("FR120", f"the team configuration is not valid TOML: {_AT.sub('', message)}", place)


def _teams(table: Any, found: list[Problem]) -> dict[str, Team]:
    if not isinstance(table, dict) or not all(isinstance(team, dict) for team in table.values()):
        hint = "a team is a table: [teams.NAME]"
        found.append(Problem("FR121", "`teams` is not a table of tables", ("teams",), hint=hint))
        return {}
    return {name: _struct(Team, team, ("teams", name), found) for name, team in table.items()}


def _struct(kind: type[Any], table: Any, where: tuple[str, ...], found: list[Problem]) -> Any:
    """A table as a struct. Every key is looked at on its own, so that all mistakes are found at once."""
    owner = f"team `{where[1]}`" if len(where) > 1 else f"`[{where[0]}]`"
    if not isinstance(table, dict):
        found.append(Problem("FR121", f"`{where[0]}` is not a table", where))
        return kind()
    types = get_type_hints(kind)
    good = {}
    for key, value in table.items():
        if key not in types:
            found.append(_unknown(key, list(types), (*where, key), owner))
            continue
        try:
            good[key] = msgspec.convert(value, types[key])
        except msgspec.ValidationError as error:
            expected, _, at = str(error).replace(" | null", "").partition(" - at ")
            inside = " inside of it" if at else ""
            message = f"`{key}` of {owner} has a value of the wrong type: {_lower(expected)}{inside}"
            found.append(Problem("FR121", message, (*where, key)))
    return kind(**good)


def _unknown(key: str, known: list[str], where: tuple[str, ...], owner: str) -> Problem:
    close = difflib.get_close_matches(key, known, 1)
    hint = (
        f"did you mean `{close[0]}`?" if close else "it may have " + ", ".join(f"`{name}`" for name in known)
    )
    return Problem("FR121", f"{owner} has no key `{key}`", where, hint=hint)


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _diagnostic(
    problem: Problem, file: str, places: Mapping[tuple[str, ...], tuple[int, int, int]]
) -> Diagnostic:
    def label(where: tuple[str, ...], text: str) -> Label:
        while where and where not in places:  # what is left out is shown where it could be
            where = where[:-1]
        return Label(Place(file, *places[where]) if where else Place(file), text)

    labels = [label(problem.where, problem.label), *(label(where, text) for where, text in problem.causes)]
    return Diagnostic(problem.code, printable(problem.message), tuple(labels), hint=problem.hint)


def _places(text: str) -> dict[tuple[str, ...], tuple[int, int, int]]:
    """Line, column and end of every key of a TOML text that stands in a common way."""
    places: dict[tuple[str, ...], tuple[int, int, int]] = {}
    for key, at in _keys(text):
        for known in range(1, len(key) + 1):  # a table within another is where that is, if nowhere else
            places.setdefault(key[:known], at)
    return places


def _keys(text: str) -> Iterator[tuple[tuple[str, ...], tuple[int, int, int]]]:
    table: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _names(header[1])
            yield table, (number, header.start(1) + 1, header.end(1) + 1)
        elif key := _KEY.match(line):
            own = (*table, *_names(key[1]))
            yield own, (number, key.start(1) + 1, key.end(1) + 1)
            for part in _inline(line[key.end() :]):  # `quota = { gpus = 4 }`
                begin = key.end() + part.start(1)
                yield (*own, *_names(part[1])), (number, begin + 1, begin + len(part[1]) + 1)


def _inline(value: str) -> Iterator[re.Match[str]]:
    if value.lstrip().startswith("{"):
        yield from re.finditer(r"""[{,]\s*([\w-]+|"[^"]*"|'[^']*')\s*=""", value)


def _names(dotted: str) -> tuple[str, ...]:
    return tuple(name.strip("\"'") for name in _NAME.findall(dotted))
