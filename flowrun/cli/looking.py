"""Commands that look at runs."""

from __future__ import annotations

import sys
from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import ANY_RUN, JSON, NODE, RUN, STATE, open_log, print_json, state_of, task_of


@app.command(STATE, JSON)
def runs(state: Path, as_json: bool) -> None:
    """List the runs of this project."""
    from flowrun.shell.views import table

    rows = open_log(state).runs()
    if as_json:
        print_json(rows)
    elif rows:
        print(table(rows))
    else:
        print(f"there are no runs in `{state}` yet; `flowrun execute PLAN` makes one")


@app.command(
    ANY_RUN,
    argument("--gantt", action="store_true", help="draw when what ran, and tell what decided the end"),
    argument("--svg", type=Path, metavar="FILE", help="write that as a drawing"),
    STATE,
    JSON,
)
def show(run: str, gantt: bool, svg: Path | None, state: Path, as_json: bool) -> None:
    """Show a run: every node, its state, what it took, what came of it."""
    from flowrun.shell.clock import now_ms
    from flowrun.shell.report import report
    from flowrun.shell.views import details

    log = open_log(state)
    row = log.find(run)
    held = state_of(log, row.run)
    found = report(row.run, row.status, held, log.home, now_ms())
    if gantt or svg is not None:
        from flowrun.shell.chart.runs import Picture

        picture = Picture(row.run, row.status, held, log.capacity(row.run), now_ms())
        if svg is not None:
            picture.write(svg)
    if as_json:
        print_json(found)
    elif gantt:
        print(picture.text())
    elif svg is None:
        print(details(found, log.home))


@app.command(
    RUN,
    NODE,
    argument("--attempt", type=int, default=0, metavar="N", help="which attempt; the last if left out"),
    argument("--timestamps", action="store_true", help="with the time and the stream of each line"),
    STATE,
    JSON,
)
def logs(run: str, node: str, attempt: int, timestamps: bool, state: Path, as_json: bool) -> None:
    """Print what a node wrote to standard output and error."""
    from flowrun.shell.execution import log_path
    from flowrun.shell.output import text_of

    log = open_log(state)
    row = log.find(run)
    task = task_of(state_of(log, row.run), row.run, node)
    number = attempt or task.attempt
    path = log_path(log.home, row.run, node, number)
    rows = path.read_bytes() if path.is_file() else b""
    text = rows.decode("utf-8", "replace") if timestamps else text_of(rows)
    if as_json:
        print_json(
            {"run": row.run, "node": node, "attempt": number, "path": str(path), "lines": text.splitlines()}
        )
    elif text:
        sys.stdout.write(text)
    elif task.site.control != "none":
        print(f"`{node}` has no process of its own, and so no log", file=sys.stderr)
    elif attempt > task.attempt or number == 0:
        print(f"`{node}` has not run{f' {attempt} times' if attempt else ''} in `{row.run}`", file=sys.stderr)
    else:
        print(f"`{node}` wrote nothing", file=sys.stderr)


@app.command(
    RUN,
    NODE,
    STATE,
    JSON,
)
def why(run: str, node: str, state: Path, as_json: bool) -> None:
    """Explain what a node waits or waited for: which resource, how much is missing, who holds it."""
    from flowrun.shell.clock import now_ms
    from flowrun.shell.waiting import account
    from flowrun.shell.waiting import why as explanation

    log = open_log(state)
    row = log.find(run)
    found = state_of(log, row.run)
    task = task_of(found, row.run, node)
    now = now_ms()
    waits = [wait for wait in account(log, row.run, now) if wait.node == task.node.id]
    if as_json:
        print_json({"run": row.run, "node": task.node.id, "state": task.state, "waits": waits})
    else:
        print(explanation(found, task, waits, row.status, now))
