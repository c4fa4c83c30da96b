"""Inputs of all types, with and without defaults."""

import datetime
import enum
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from flowc import Array, operator, workflow


class Mode(enum.Enum):
    FAST = "fast"
    GOOD = "good"


@dataclass
class Options:
    depth: int
    name: str = ""


@operator
def use(value: Any) -> None: ...


@workflow
def main(
    options: Options,
    array: Array,
    untyped,
    number: int = 3,
    share: float = 1,
    tiny: float = 1e-30,
    yes: bool = True,
    text: str = 'é "quoted"\n',
    day: datetime.date = datetime.date(2024, 2, 29),
    moment: datetime.datetime = datetime.datetime(2024, 2, 29, 12, 30),
    maybe: int | None = None,
    either: int | str = "x",
    one_of: Literal["a", 1, True, None] = 1,
    mode: Mode = Mode.FAST,
    path: Path = Path("data") / "x.csv",
    rows: list[tuple[int, str]] = [(1, "a")],
    table: dict[str, list[float]] = {"b": [1.5], "a": []},
    unique: set[int] = (),
    anything: Any = {"deep": [{"er": None}]},
):
    use([options.depth, array, untyped, number, share, tiny, yes, text, day, moment, maybe, either, one_of])
    use({"mode": mode, "path": path, "rows": rows, "table": table, "unique": unique, "anything": anything})
