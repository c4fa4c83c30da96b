"""The `flowrun` command."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from flowc.plan.command import run

if TYPE_CHECKING:
    from flowrun.core.state import State
    from flowrun.shell.runlog import RunLog

app = typer.Typer(
    help="Execute plans on this machine, and look at runs.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
StateFolder = Annotated[
    Path,
    typer.Option("--state", envvar="FLOW_STATE", metavar="DIR", help="Where runs and artifacts are kept."),
]
RunName = Annotated[str, typer.Argument(metavar="[RUN]", help="For example iris-7; the latest if left out.")]


def main() -> None:
    """Entry point."""
    # Imports and plans make many objects and no garbage: collecting seldom saves a tenth of a short run.
    gc.set_threshold(100_000, 50, 100)
    run(app)


@app.command()
def execute(
    plan: Annotated[Path, typer.Argument(metavar="PLAN", help="A plan file.")],
    inputs: Annotated[
        list[str] | None, typer.Option("-i", "--input", metavar="NAME=VALUE", help="An input.")
    ] = None,
    resume: Annotated[str, typer.Option(metavar="RUN", help="Go on with a run: only what is not done.")] = "",
    devices: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Pretend the host of a TOML file.")
    ] = None,
    state: StateFolder = Path(".flow"),
    as_json: Json = False,
) -> None:
    """Execute a plan; exit status 0 if it succeeded, 1 if it failed, 130 if it was cancelled."""
    from flowrun.shell.launch import Request, launch

    status = launch(Request(plan, tuple(inputs or ()), resume, devices, state, as_json))
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is durable and said. Taking the interpreter apart would cost more than running a node.
    os._exit(status)


@app.command()
def runs(state: StateFolder = Path(".flow"), as_json: Json = False) -> None:
    """List the runs of this project."""
    from flowrun.shell.views import table

    rows = _log(state).runs()
    if as_json:
        _print_json(rows)
    elif rows:
        print(table(rows))
    else:
        print(f"there are no runs in `{state}` yet; `flowrun execute PLAN` makes one")


@app.command()
def show(run: RunName = "", state: StateFolder = Path(".flow"), as_json: Json = False) -> None:
    """Show a run: every node, its state, what it took, what came of it."""
    from flowrun.shell.execution import now_ms
    from flowrun.shell.report import report
    from flowrun.shell.views import details

    log = _log(state)
    row = log.find(run)
    found = report(row.run, row.status, _state_of(log, row.run), log.home, now_ms())
    if as_json:
        _print_json(found)
    else:
        print(details(found, log.home))


@app.command()
def logs(
    run: Annotated[str, typer.Argument(metavar="RUN", help="For example iris-7.")],
    node: Annotated[str, typer.Argument(metavar="NODE", help="A node of its plan.")],
    attempt: Annotated[int, typer.Option(metavar="N", help="Which attempt; the last if left out.")] = 0,
    state: StateFolder = Path(".flow"),
    as_json: Json = False,
) -> None:
    """Print what a node wrote to standard output and error."""
    import difflib

    from flowc.plan.diagnostics import refuse
    from flowrun.shell.execution import log_path

    log = _log(state)
    row = log.find(run)
    found = _state_of(log, row.run)
    task = found.by_id.get(node)
    if task is None:
        close = difflib.get_close_matches(node, found.by_id, 1)
        known = ", ".join(f"`{name}`" for name in list(found.by_id)[:20])
        hint = f"did you mean `{close[0]}`?" if close else f"its nodes are {known}"
        refuse("FR302", f"run `{row.run}` has no node `{node}`", hint=hint)
    number = attempt or task.attempt
    path = log_path(log.home, row.run, task, number)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if as_json:
        _print_json(
            {"run": row.run, "node": node, "attempt": number, "path": str(path), "lines": text.splitlines()}
        )
    elif text:
        sys.stdout.write(text)
    elif attempt > task.attempt or number == 0:
        print(f"`{node}` has not run{f' {attempt} times' if attempt else ''} in `{row.run}`", file=sys.stderr)
    else:
        print(f"`{node}` wrote nothing", file=sys.stderr)


def _log(folder: Path) -> RunLog:
    from flowrun.shell.runlog import Home, RunLog

    return RunLog(Home(folder))


def _state_of(log: RunLog, run: str) -> State:
    from flowc.plan.diagnostics import refuse

    state = log.state_of(run)
    if state is None:
        refuse(
            "FR301", f"run `{run}` ended before it began: nothing was recorded", hint="execute its plan again"
        )
    return state


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode())
