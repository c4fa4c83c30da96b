"""The commands about rollouts: what they send, and what they print."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.text import columns
from flowserve.core.rollout.evidence import Counts, Histogram, bound_ms, quantile
from flowserve.core.rollout.plan import shares
from flowserve.core.wire.addresses import Address
from flowserve.core.wording import cut
from flowserve.shell.processes.control import (
    FinishRollout,
    PastRollout,
    RolloutRow,
    StartRollout,
    State,
    Status,
    ask,
)


def start(address: Address, model: str, version: int, alias: str, settings: Mapping[str, Any]) -> None:
    """`flowserve rollout start`. Raises `Refused` FS107, FS108 and FS280 to FS282, as all of these do."""
    given = {name: value for name, value in settings.items() if value is not None}
    share, steps = given.pop("share", None), given.pop("steps", None)
    if share is not None and steps is not None:
        refuse("FS280", "a rollout has either `--share`, which is its only step, or `--steps`")
    if share is not None:
        given["steps"] = [share]
    elif steps is not None:
        given["steps"] = _numbers(steps)
    _show(ask(address, StartRollout(model, version, alias, given)), model)


def finish(address: Address, model: str, alias: str, promote: bool) -> None:
    """`flowserve rollout promote` and `abort`."""
    _show(ask(address, FinishRollout(model, alias, promote)), model)


def show(address: Address, model: str, as_json: bool) -> None:
    """`flowserve rollout status`."""
    state = ask(address, Status())
    if model and model not in {row.name for row in state.models}:
        refuse("FS107", f"there is no model `{cut(model)}`")
    if as_json:
        rows = [row for row in state.rollouts if model in ("", row.name)]
        past = [row for row in state.past_rollouts if model in ("", row.name)]
        print(msgspec.json.encode({"rollouts": rows, "past": past}).decode())
        return
    _show(state, model)


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        refuse("FS280", f"`--steps` must be numbers with commas between, got `{cut(text)}`")


def _show(state: State, model: str) -> None:
    said = [
        line
        for row in state.rollouts
        if model in ("", row.name)
        for line in (*_rollout(row), *_sides(row), *_shadow(row))
    ]
    running = {(row.name, row.alias) for row in state.rollouts}
    said += [
        _ended(past)
        for past in state.past_rollouts
        if model in ("", past.name) and (past.name, past.alias) not in running
    ]
    print("\n".join(said or ["no rollouts"]))
    for note in state.notes:
        print(note)


def _rollout(row: RolloutRow) -> list[str]:
    of = row.rollout
    return [
        f"{row.name}@{row.alias}: from version {of.stable} to {of.candidate}, {row.share:g} % "
        f"({shares(of.plan.steps)}), for {row.age_s:.0f} s",
        f"  {row.verdict}",
    ]


def _sides(row: RolloutRow) -> list[str]:
    table = [("version", "requests", "failed", "p50", "p99", "forced")]
    sides = (row.rollout.stable, row.evidence.stable), (row.rollout.candidate, row.evidence.candidate)
    table += [(str(version), *_counts(counts)) for version, counts in sides]
    return [f"  {line}" for line in columns(table)]


def _counts(of: Counts) -> tuple[str, str, str, str, str]:
    return (str(of.requests), str(of.errors), _ms(of.latency, 0.5), _ms(of.latency, 0.99), str(of.forced))


def _shadow(row: RolloutRow) -> list[str]:
    of = row.evidence.shadow
    if not row.rollout.plan.shadow:
        return []
    differs = f"{of.disagreement / of.compared:.2%} of rows differ, " if of.compared else ""
    lines = [f"  shadow: {of.compared} compared, {differs}{of.failed} failed, {of.dropped} dropped"]
    if of.compared:
        theirs = f"version {row.rollout.candidate} {_ms(of.candidate, 0.5)}"
        lines[0] += f"; ran in {_ms(of.stable, 0.5)} (p50), {theirs}"
        table = [("output", "off", "other best", "apart by", "relative")]
        for name, output in sorted(of.outputs.items()):
            off, flipped = (f"{count / max(1, output.rows):.2%}" for count in (output.off, output.flipped))
            apart = f"{output.max_absolute:.3g}", f"{output.max_relative:.3g}"
            table.append((name, off, flipped, *apart))
        lines += [f"  {line}" for line in columns(table)]
    return lines


def _ended(past: PastRollout) -> str:
    at = time.strftime("%H:%M:%S", time.localtime(past.ended))
    return f"{past.name}@{past.alias}: the rollout to version {past.candidate} ended at {at}: {past.reason}"


def _ms(histogram: Histogram, share: float) -> str:
    return f"{bound_ms(quantile(histogram, share)):.2g} ms" if histogram else "-"
