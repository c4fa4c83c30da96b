"""What operators took in earlier runs, as a file: `flowrun history` writes it, `flowc compile` reads it.

JSON Lines, specified in `docs/formats/history.md`: a header, then a row for each operator and code, for each
module that was loaded for them, and for what the runner adds to each call.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowc.plan.model import Amount, Plan, Reference

FORMAT = 1


class Head(msgspec.Struct, frozen=True, tag_field="kind", tag="history", forbid_unknown_fields=True):
    """The first row."""

    format: int


class Record(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="operator",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """What the calls of an operator that succeeded took, from their start to their end.

    `code` is the hash of its source; empty if that is not known. `wall_ms` is the median, `wall_ms_p90` what
    nine of ten calls stayed within, `peak_mb` the most memory that any of them had, and `gpu_peak_mb` that on
    all its GPUs together. `own_ms` and `own_ms_p90` are of the time in the calls' own processes, which is
    without waiting for one and for imports. `items` is the median number of items of its loops. 0: not known.
    """

    op: Reference
    code: str
    runs: Amount
    wall_ms: Amount
    wall_ms_p90: Amount = 0
    peak_mb: Amount = 0
    own_ms: Amount = 0
    own_ms_p90: Amount = 0
    items: Amount = 0
    gpu_peak_mb: Amount = 0


class Module(msgspec.Struct, frozen=True, tag_field="kind", tag="module", forbid_unknown_fields=True):
    """What it took to load a module that operators import, mostly once a run: the median of `runs` times."""

    module: str
    runs: Amount
    ms: Amount


class Runner(
    msgspec.Struct,
    frozen=True,
    tag_field="kind",
    tag="runner",
    forbid_unknown_fields=True,
    omit_defaults=True,
):
    """What the runner adds to a call: medians of `runs` calls for which no modules had to be loaded.

    `start_ms` if its process was started at once; `fork_ms`, from then on, if it had to wait until those of
    others were. Of 0 runs nothing is known.
    """

    runs: Amount
    start_ms: Amount = 0
    fork_ms: Amount = 0


class History(msgspec.Struct, frozen=True):
    """All that a history file says."""

    records: tuple[Record, ...] = ()
    modules: Mapping[str, int] = {}  # milliseconds to load each
    runner: Runner = Runner(0)


Row = Head | Record | Module | Runner

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Row).decode


def encode(records: Iterable[Record], modules: Iterable[Module] = (), runner: Runner | None = None) -> bytes:
    """The canonical bytes of a history: one row for each operator and code, sorted, then the others."""
    rows: list[Row] = [
        Head(FORMAT),
        *sorted(records, key=lambda row: (row.op, row.code)),
        *sorted(modules, key=lambda row: row.module),
        *([runner] if runner is not None else []),
    ]
    return b"".join(_encode(row) + b"\n" for row in rows)


def read(path: str | os.PathLike[str]) -> tuple[Record, ...]:
    """The records of a history file; `Refused` (FC260) says what is wrong with it and where."""
    return read_all(path).records


def read_all(path: str | os.PathLike[str]) -> History:
    """A history file; `Refused` (FC260) says what is wrong with it and where."""
    hint = "`flowrun history -o FILE` writes one"
    try:
        lines = Path(path).read_bytes().splitlines()
    except OSError as error:
        refuse("FC260", f"cannot read the history `{path}`: {error.strerror}", hint=hint)
    rows: list[Row] = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(_decode(line))
        except ValueError as error:  # neither UTF-8 nor JSON nor such a row
            refuse("FC260", f"malformed row of a history: {error}", Place(os.fspath(path), number), hint=hint)
    head = rows[0] if rows else None
    if not isinstance(head, Head) or any(isinstance(row, Head) for row in rows[1:]):
        refuse("FC260", f"`{path}` is not a history", Place(os.fspath(path), 1), hint=hint)
    if head.format != FORMAT:
        message = f"the history is of format {head.format}; this version reads format {FORMAT}"
        refuse("FC260", message, Place(os.fspath(path), 1), hint=hint)
    return History(
        tuple(row for row in rows if isinstance(row, Record)),
        {row.module: row.ms for row in rows if isinstance(row, Module)},
        next((row for row in rows if isinstance(row, Runner)), Runner(0)),
    )


def of_plan(plan: Plan) -> tuple[Record, ...]:
    """The records that a plan's estimates were taken from, as far as the plan tells."""
    found = {
        Record(
            site.op,
            site.code if site.estimate.source == "history" else "",
            site.estimate.runs,
            site.estimate.ms,
            peak_mb=site.estimate.peak_mb,
        )
        for site in plan.sites
        if site.estimate.runs
    }
    return tuple(sorted(found, key=lambda row: (row.op, row.code)))
