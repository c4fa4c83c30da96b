"""What waits and what runs in a fleet whose teams share a host, as values."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import msgspec

from flowrun.core.fleet import Fleet, Pause
from flowrun.core.scheduler.order import Fair
from flowrun.core.scheduler.request import OUTSIDE
from flowrun.core.scheduler.waits import waits
from flowrun.core.sharing.finish import FinishTimes
from flowrun.core.sharing.rows import QueueRow, TeamRow, queue_row, team_rows

MOST_ROWS = 200  # of what waits: those whose turn is next. Why something waits costs a look at all that runs.


class RunningRow(msgspec.Struct, frozen=True):
    """A task that holds a place since `since_ms` and is expected to give it back at `ends_ms`."""

    task: str
    team: str
    tier: int
    since_ms: int
    ends_ms: int
    cpus: float
    memory_mb: int
    gpus: tuple[int, ...]


class QueueTable(msgspec.Struct, frozen=True):
    """What waits, the first to come first and at most `MOST_ROWS` of `count`; and what runs, oldest first."""

    now_ms: int
    count: int
    waiting: list[QueueRow]
    running: list[RunningRow]


_PAUSED: dict[Pause, str] = {
    "ending": "the daemon ends: nothing starts any more",
    "outage": "nothing starts until the run log can be written again",
    "opening": "the daemon begins",
}


def queue_table(fleet: Fleet, order: Fair, now_ms: int) -> QueueTable:
    """What waits and what runs at this moment."""
    scheduler, shares = fleet.scheduler, order.shares
    requests = [scheduler.queue[ref] for ref in scheduler.queue]
    parts = {
        request.ref: shares.parts(*request.lane, -request.rank[0], now_ms - request.since_ms)
        for request in requests
    }
    requests.sort(key=lambda request: (-parts[request.ref].effective, request.rank))
    waiting = []
    for request in requests[:MOST_ROWS]:
        why = waits(scheduler, request, now_ms)
        team = shares.names[request.lane.team]
        said = next((text for pause, text in _PAUSED.items() if pause in fleet.paused), str(why))
        waiting.append(
            queue_row(
                str(request.ref),
                team,
                request.lane.tier,
                request.since_ms,
                said,
                parts[request.ref],
                0 if fleet.paused else why.expected_ms,
            )
        )
    held = sorted(
        scheduler.holdings.by_ref.values(), key=lambda holding: (holding.started_ms, holding.request.ref)
    )
    running = [
        RunningRow(
            str(holding.request.ref),
            "" if holding.request.lane == OUTSIDE else shares.names[holding.request.lane.team],
            holding.request.lane.tier,
            holding.started_ms,
            holding.ends_ms,
            holding.placement.cpus,
            holding.placement.memory_mb,
            holding.placement.gpus,
        )
        for holding in held
    ]
    return QueueTable(now_ms, len(requests), waiting, running)


def teams_table(fleet: Fleet, order: Fair, finished: Mapping[str, FinishTimes]) -> list[TeamRow]:
    """What each team has against what is its own."""
    queue, names = fleet.scheduler.queue, order.shares.names
    waiting = Counter(names[queue[ref].lane.team] for ref in queue)
    return team_rows(order.shares, waiting, finished)
