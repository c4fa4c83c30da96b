"""The daemon's tables as text for people."""

from __future__ import annotations

from flowc.plan.text import columns, counted
from flowrun.service.tables import QueueTable
from flowrun.shell.showing import team_views

_MOST_ROWS = 50


def queue(table: QueueTable) -> str:
    """`flowrun queue`."""
    lines = [team_views.queue(table.waiting, table.now_ms)]
    if table.count > len(table.waiting):
        lines.append(f"... {counted(table.count, 'task')} in all")
    if not table.running:
        return "\n".join([*lines, "", "nothing runs"])
    head = ("task", "team", "tier", "since", "ends in", "cpus", "memory", "gpus")
    cells: list[tuple[str, ...]] = [head]
    for row in table.running[:_MOST_ROWS]:
        left = row.ends_ms - table.now_ms
        cells.append(
            (
                row.task,
                row.team,
                str(row.tier),
                team_views.duration(table.now_ms - row.since_ms),
                f"~{team_views.duration(left)}" if left > 0 else "",
                f"{row.cpus:g}",
                f"{row.memory_mb} MB" if row.memory_mb else "",
                ", ".join(map(str, row.gpus)),
            )
        )
    lines += ["", *columns(cells)]
    if len(table.running) > _MOST_ROWS:
        lines.append(f"... and {counted(len(table.running) - _MOST_ROWS, 'task')} more")
    return "\n".join(lines)
