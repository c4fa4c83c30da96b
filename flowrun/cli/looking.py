"""Commands that look at runs."""

from __future__ import annotations

import sys
from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import ANY_RUN, JSON, NODE, RUN, STATE, open_log, print_json


@app.command(
    argument("--where", default="", metavar="CONDITION", help="only those that are so; see below"),
    argument("--sort", dest="order", default="", metavar="FIELD", dashes=True, help="`-FIELD`: most first"),
    argument("--limit", type=int, default=0, metavar="N", help="at most so many: the first, or the latest"),
    STATE,
    JSON,
)
def runs(where: str, order: str, limit: int, state: Path, as_json: bool) -> None:
    """List the runs of this project, or search them.

    flowrun runs --where "state=failed and started>-2d"
    flowrun runs --where "input.lr>0.1 and metric.accuracy>=0.9 and tag.team=ads" --sort -metric.accuracy

    Fields are run, number, workflow, plan, state, started, ended, took, input.NAME, metric.NAME, tag.NAME;
    comparisons = != < <= > >=, ~ (has the text in it), in (A, B); and, or, not, and parentheses.
    """
    from flowrun.shell.clock import now_ms
    from flowrun.shell.log import search

    found = search.find(open_log(state), where, order, limit, now_ms())
    if as_json:
        print_json(search.plain(found))
    elif found.runs:
        print(search.table(found))
    elif where:
        print("no run is so", file=sys.stderr)
    else:
        print(f"there are no runs in `{state}` yet; `flowrun execute PLAN` makes one")


@app.command(
    ANY_RUN,
    argument("--gantt", action="store_true", help="draw when what ran, and tell what decided the end"),
    argument("--svg", type=Path, metavar="FILE", help="write that as a drawing"),
    argument("--junit", type=Path, metavar="FILE", help="write JUnit XML for CI: a case for each node"),
    STATE,
    JSON,
)
def show(run: str, gantt: bool, svg: Path | None, junit: Path | None, state: Path, as_json: bool) -> None:
    """Show a run: every node, its state, what it took, what came of it."""
    import msgspec

    from flowrun.core.logged import gather
    from flowrun.shell.clock import now_ms
    from flowrun.shell.log.finding import state_of
    from flowrun.shell.showing.report import report
    from flowrun.shell.showing.views import details

    log = open_log(state)
    row = log.find(run)
    held = state_of(log, row.run)
    found = report(row.run, row.status, held, log.home, now_ms())
    found = msgspec.structs.replace(found, logged=gather(log.changes(row.run)))
    if gantt or svg is not None:
        from flowrun.shell.chart.runs import Picture

        picture = Picture(row.run, row.status, held, log.capacity(row.run), now_ms())
        if svg is not None:
            picture.write(svg)
    if junit is not None:
        from flowrun.shell.exporting.exports import write_junit

        write_junit(junit, found, held, log.home)
    if as_json:
        print_json(found)
    elif gantt:
        print(picture.text())
    elif svg is None and junit is None:
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
    from flowrun.shell.log.finding import state_of, task_of
    from flowrun.shell.preparing import log_path
    from flowrun.shell.workers.output import text_of

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
    """Explain why a node ran, and what it waits or waited for.

    It need not run if another run computed the same: of what is it not the same? And a node that is ready may
    wait for a place: for which resource, how much of it is missing, who holds it?
    """
    from flowrun.shell.clock import now_ms
    from flowrun.shell.log.finding import state_of, task_of
    from flowrun.shell.showing.causes import cause
    from flowrun.shell.showing.waiting import account
    from flowrun.shell.showing.waiting import why as explanation

    log = open_log(state)
    row = log.find(run)
    found = state_of(log, row.run)
    task = task_of(found, row.run, node)
    now = now_ms()
    waits = [wait for wait in account(log, row.run, now) if wait.node == task.node.id]
    if as_json:
        because = {"state": task.state, "cause": cause(log, row.run, task), "waits": waits}
        print_json({"run": row.run, "node": task.node.id, **because})
    else:
        print(explanation(found, task, waits, row.status, now))
        if sentence := cause(log, row.run, task):
            print(f"\n{sentence}")


@app.command(
    argument("first", metavar="RUN", help="for example iris-7"),
    argument("second", metavar="RUN", help="the run to compare it with"),
    STATE,
    JSON,
)
def diff(first: str, second: str, state: Path, as_json: bool) -> None:
    """Compare two runs: inputs, plan, code, packages, and what came of each node."""
    from flowrun.shell.clock import now_ms
    from flowrun.shell.showing.differences import differences, text

    found = differences(open_log(state), first, second, now_ms())
    if as_json:
        print_json(found)
    else:
        print(text(found))


@app.command(
    RUN,
    argument("--follow", dest="on", action="store_true", help="go on until the run's end"),
    argument("--since", type=int, default=0, metavar="N", help="from this position on"),
    STATE,
)
def events(run: str, on: bool, since: int, state: Path) -> None:
    """Print what happened in a run, and what happens: JSON lines.

    They are the rows of the run log (docs/formats/run-log.md), with `run` and `position`.
    """
    from flowrun.shell.exporting.events import print_events

    log = open_log(state)
    try:
        print_events(log, log.find(run).run, max(0, since), on)
    except KeyboardInterrupt:
        sys.exit(130)


@app.command(
    ANY_RUN,
    argument("-o", "--output", type=Path, metavar="FILE", help="where to (default: RUN.trace.json)"),
    STATE,
)
def trace(run: str, output: Path | None, state: Path) -> None:
    """Write a run as a trace, to be looked at in ui.perfetto.dev.

    Tracks for workers and GPUs, what waited, arrows along dependencies, counters, logged metrics.
    """
    from flowrun.shell.exporting.exports import write_trace

    print(write_trace(open_log(state), run, output))


@app.command(
    argument("-o", "--output", type=Path, metavar="FILE", help="write a file, for a textfile collector"),
    STATE,
)
def metrics(output: Path | None, state: Path) -> None:
    """Print counts of runs and nodes, times and the queue for Prometheus."""
    from flowrun.shell.clock import now_ms
    from flowrun.shell.exporting.exports import replace
    from flowrun.shell.exporting.prometheus import metrics as text

    found = text(open_log(state), now_ms())
    if output is None:
        sys.stdout.write(found)
    else:
        replace(output, found.encode())
