"""A queue of jobs, read from CSV.

    submit,team,priority,resources,duration[,tier][,estimate]
    0,vision,0,gpus=4 cpus=32 memory=256GB,2h
    90s,speech,1,gpus=1,15m

`submit`, `duration` and `estimate` are times (`90`, `2h`, `1h 30min`); a job without an estimate is one of
which the scheduler does not know how long it lasts.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused, refuse
from flowc.plan.model import Resources
from flowrun.core.sharing.teams import DEFAULT_TEAM
from flowrun.shell.amounts import duration_ms, size_mb

_NEEDED = ("submit", "team", "priority", "resources", "duration")
_MORE = ("tier", "estimate")
_TIERS = 9
_MOST_GPUS = 1_000_000


class Row(msgspec.Struct, frozen=True):
    """A line of a trace, and where it stands."""

    line: int
    team: str
    tier: int  # 0: as its team
    priority: float
    needs: Resources
    submit_ms: int
    duration_ms: int
    estimate_ms: int


def read(path: Path) -> list[Row]:
    """The jobs of a CSV file in order of submission."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        refuse("FR135", f"cannot read the trace `{path}`: {error.strerror}")
    except UnicodeDecodeError:
        refuse("FR135", f"the trace `{path}` is not UTF-8 text")
    lines = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    try:
        return _rows(lines, path)
    except csv.Error as error:
        refuse("FR135", f"the trace `{path}` is no CSV file: {error}", Place(str(path), lines.line_num + 1))


def _rows(lines: csv.DictReader[str], path: Path) -> list[Row]:
    header = [name.strip() for name in lines.fieldnames or ()]
    lines.fieldnames = header
    missing = [name for name in _NEEDED if name not in header]
    unknown = [name for name in header if name not in (*_NEEDED, *_MORE)]
    if missing or unknown:
        what = f"lacks the column `{missing[0]}`" if missing else f"has an unknown column `{unknown[0]}`"
        hint = f"the first line is `{','.join(_NEEDED)}`; `tier` and `estimate` may be added"
        refuse("FR136", f"the trace {what}", Place(str(path), 1), hint=hint)
    found: list[Diagnostic] = []
    rows = [row for record in lines if (row := _row(record, lines.line_num, path, found)) is not None]
    if found:
        raise Refused(*found[:20])
    if not rows:
        refuse("FR135", f"the trace `{path}` has no jobs")
    return sorted(rows, key=lambda row: (row.submit_ms, row.line))


def _row(record: Mapping[str, Any], line: int, path: Path, found: list[Diagnostic]) -> Row | None:
    before = len(found)

    def wrong(column: str, expected: str) -> None:
        place = Label(Place(str(path), line))
        text = record.get(column) or ""
        found.append(Diagnostic("FR137", f"`{column}` is `{text}`, and must be {expected}", (place,)))

    def time(column: str, least_ms: int = 0) -> int:
        text = (record.get(column) or "").strip()
        value = duration_ms(text) if text else None
        if value is None or value < least_ms:
            wrong(column, "a time such as `90s`, `2h` or `1h 30min`" + (", above 0" if least_ms else ""))
            return least_ms
        return value

    def number(column: str, text: str, least: float, most: float) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not least <= value <= most:
            wrong(column, f"a number from {least:g} to {most:g}")
            return least
        return value

    if None in record or None in record.values():
        found.append(
            Diagnostic(
                "FR136", "the line has more or fewer values than columns", (Label(Place(str(path), line)),)
            )
        )
        return None
    tier = (record.get("tier") or "").strip()
    row = Row(
        line,
        record["team"].strip() or DEFAULT_TEAM,
        round(number("tier", tier, 1, _TIERS)) if tier else 0,
        number("priority", record["priority"].strip() or "0", -1e6, 1e6),
        _resources(record["resources"], wrong),
        time("submit"),
        time("duration", 1),
        time("estimate", 1) if (record.get("estimate") or "").strip() else 0,
    )
    return row if len(found) == before else None


def _resources(text: str, wrong: Any) -> Resources:
    """`gpus=4 cpus=32 memory=256GB licence=1`; a job of more GPUs than a host has is divided among hosts."""
    amounts: dict[str, float] = {}
    uses: list[tuple[str, int]] = []
    for part in text.replace(";", " ").split():
        name, _, amount = part.partition("=")
        value = size_mb(amount) if name == "memory" and amount else _float(amount)
        if value is None or not 0 <= value <= 1e12 or name in amounts or not name:
            wrong("resources", "amounts such as `gpus=4 cpus=32 memory=256GB`, each once and not negative")
            return Resources()
        if name in ("gpus", "cpus", "memory"):
            amounts[name] = value
        else:
            uses.append((name, int(value)))
    gpus = amounts.get("gpus", 0)
    if not (amounts or uses) or gpus != int(gpus) or gpus > _MOST_GPUS:
        wrong("resources", "amounts such as `gpus=4 cpus=32 memory=256GB`, of GPUs whole ones")
        return Resources()
    return Resources(
        cpus=amounts.get("cpus", 0 if gpus else 1),
        memory_mb=int(amounts.get("memory", 0)),
        gpus=int(gpus),
        hosts_max=max(1, int(gpus)),
        uses=tuple(sorted(uses)),
    )


def _float(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
