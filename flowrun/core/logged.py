"""What operators logged in a run, gathered: metrics as series, notes, artifacts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from flowrun.core.changes import AnyChange, Logged, Point
from flowrun.core.model import Artifact


class Series(msgspec.Struct, frozen=True):
    """The values of a metric that an attempt of a node logged, the last attempt that did."""

    node: str
    attempt: int
    name: str
    points: list[Point]


class Note(msgspec.Struct, frozen=True):
    """A text that a node logged."""

    node: str
    at_ms: int
    text: str


class Kept(msgspec.Struct, frozen=True):
    """An artifact that a node logged."""

    node: str
    name: str
    artifact: Artifact


class Book(msgspec.Struct, frozen=True):
    """All that was logged, by when it first was."""

    metrics: list[Series]
    notes: list[Note]
    artifacts: list[Kept]


def gather(changes: Iterable[AnyChange]) -> Book:
    """Read from the changes of a run, of all its executions."""
    series: dict[tuple[str, str], Series] = {}
    notes: list[Note] = []
    artifacts: dict[tuple[str, str], Kept] = {}
    for change in changes:
        if not isinstance(change, Logged):
            continue
        for point in change.points:
            key = (change.node, point.name)
            found = series.get(key)
            if found is None or found.attempt != change.attempt:
                found = series[key] = Series(change.node, change.attempt, point.name, [])
            found.points.append(point)
        notes += [Note(change.node, change.at_ms, text) for text in change.notes]
        for name, artifact in change.artifacts.items():
            artifacts[change.node, name] = Kept(change.node, name, artifact)
    return Book(list(series.values()), notes, list(artifacts.values()))
