"""The `flowrun` command."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowc.plan.command import App, argument

if TYPE_CHECKING:
    from flowrun.core.state import State
    from flowrun.core.task import Task
    from flowrun.shell.runlog import RunLog

app = App("flowrun", "Execute plans on this machine, and look at runs.")

_JSON = argument("--json", dest="as_json", action="store_true", help="print JSON for machines")
_STATE = argument(
    "--state",
    type=Path,
    metavar="DIR",
    default=os.environ.get("FLOW_STATE", ".flow"),
    help="where runs and artifacts are kept (default: $FLOW_STATE, or .flow)",
)

_DEVICES = argument(
    "--devices",
    default="",
    metavar="HOST",
    help="a TOML file or `2xH100-80GB, 8 cores, 64 GiB`: pretend this host; `licence=1`: it has this, too",
)


def main() -> None:
    """Entry point."""
    # Imports and plans make many objects and no garbage: collecting seldom saves a tenth of a short run.
    gc.set_threshold(100_000, 50, 100)
    app()


@app.command(
    argument("plan", type=Path, metavar="PLAN", help="a plan file"),
    argument(
        *("-i", "--input"), dest="inputs", action="append", default=[], metavar="NAME=VALUE", help="an input"
    ),
    argument("--resume", default="", metavar="RUN", help="go on with a run: only what is not done"),
    _DEVICES,
    argument("--explain-schedule", action="store_true", help="at the end, say which nodes waited for what"),
    _STATE,
    _JSON,
)
def execute(
    plan: Path,
    inputs: list[str],
    resume: str,
    devices: str,
    explain_schedule: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Execute a plan; exit status 0 if it succeeded, 1 if it failed, 130 if it was cancelled."""
    from flowrun.shell.forkserver import fork_zygote

    zygote = fork_zygote()  # before what follows is imported: it is small now, and can import meanwhile
    from flowrun.shell.launch import Request, launch

    status = launch(Request(plan, tuple(inputs), resume, devices, state, as_json, explain_schedule), zygote)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is durable and said. Taking the interpreter apart would cost more than running a node.
    os._exit(status)


@app.command(_STATE, _JSON)
def runs(state: Path, as_json: bool) -> None:
    """List the runs of this project."""
    from flowrun.shell.views import table

    rows = _log(state).runs()
    if as_json:
        _print_json(rows)
    elif rows:
        print(table(rows))
    else:
        print(f"there are no runs in `{state}` yet; `flowrun execute PLAN` makes one")


@app.command(
    argument("run", nargs="?", default="", metavar="RUN", help="for example iris-7; the latest if left out"),
    argument("--gantt", action="store_true", help="draw when what ran, and tell what decided the end"),
    argument("--svg", type=Path, metavar="FILE", help="write that as a drawing"),
    _STATE,
    _JSON,
)
def show(run: str, gantt: bool, svg: Path | None, state: Path, as_json: bool) -> None:
    """Show a run: every node, its state, what it took, what came of it."""
    from flowrun.shell.execution import now_ms
    from flowrun.shell.report import report
    from flowrun.shell.views import details

    log = _log(state)
    row = log.find(run)
    held = _state_of(log, row.run)
    found = report(row.run, row.status, held, log.home, now_ms())
    if gantt or svg is not None:
        from flowrun.shell.chart.runs import Picture

        picture = Picture(row.run, row.status, held, log.capacity(row.run), now_ms())
        if svg is not None:
            picture.write(svg)
    if as_json:
        _print_json(found)
    elif gantt:
        print(picture.text())
    elif svg is None:
        print(details(found, log.home))


@app.command(
    argument("run", metavar="RUN", help="for example iris-7"),
    argument("node", metavar="NODE", help="a node of its plan"),
    argument("--attempt", type=int, default=0, metavar="N", help="which attempt; the last if left out"),
    _STATE,
    _JSON,
)
def logs(run: str, node: str, attempt: int, state: Path, as_json: bool) -> None:
    """Print what a node wrote to standard output and error."""
    from flowrun.shell.execution import log_path

    log = _log(state)
    row = log.find(run)
    task = _task(_state_of(log, row.run), row.run, node)
    number = attempt or task.attempt
    path = log_path(log.home, row.run, task, number)
    text = path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""
    if as_json:
        _print_json(
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
    argument("run", metavar="RUN", help="for example iris-7"),
    argument("node", metavar="NODE", help="a node of its plan"),
    _STATE,
    _JSON,
)
def why(run: str, node: str, state: Path, as_json: bool) -> None:
    """Explain what a node waits or waited for: which resource, how much is missing, who holds it."""
    from flowrun.shell.execution import now_ms
    from flowrun.shell.waiting import account
    from flowrun.shell.waiting import why as explanation

    log = _log(state)
    row = log.find(run)
    found = _state_of(log, row.run)
    task = _task(found, row.run, node)
    now = now_ms()
    waits = [wait for wait in account(log, row.run, now) if wait.node == task.node.id]
    if as_json:
        _print_json({"run": row.run, "node": task.node.id, "state": task.state, "waits": waits})
    else:
        print(explanation(found, task, waits, row.status, now))


@app.command(
    argument("-o", "--output", type=Path, metavar="FILE", help="write a file for `flowc compile --history`"),
    _STATE,
    _JSON,
)
def history(output: Path | None, state: Path, as_json: bool) -> None:
    """Show what each operator took in all runs: time and memory of the calls that succeeded."""
    from flowc.plan.diagnostics import refuse
    from flowc.plan.history import encode
    from flowc.plan.text import counted
    from flowrun.shell.views import measurements

    measured = _log(state).history()
    records = measured.records
    if output is not None:
        try:
            output.write_bytes(encode(*measured))
        except OSError as error:
            refuse("FC260", f"cannot write the history `{output}`: {error.strerror}")
    if as_json:
        _print_json(records)
    elif not records:
        print(f"nothing has been measured in `{state}` yet; `flowrun execute PLAN` does")
    elif output is None:
        print(measurements(records))
    else:
        calls = counted(sum(row.runs for row in records), "call")
        print(f"{output}: {calls} of {counted(len(records), 'operator')}")


@app.command(
    argument("--teams", type=Path, metavar="FILE", help="who shares the host, and how: teams.toml"),
    _DEVICES,
    argument(
        "--grace",
        dest="grace_s",
        type=float,
        metavar="S",
        default=30,
        help="how long what runs may go on at the end",
    ),
    _STATE,
)
def daemon(teams: Path | None, devices: str, grace_s: float, state: Path) -> None:
    """Execute what `flowrun submit` queues, for many teams on one host, until a signal comes.

    After the first signal nothing starts any more, and what runs may come to its end; the second ends all at
    once. The next daemon goes on with what is not done.
    """
    from flowrun.service.daemon import Settings, serve

    serve(Settings(teams, devices, state, grace_s))


@app.command(
    argument("plan", type=Path, metavar="PLAN", help="a plan file"),
    argument(
        *("-i", "--input"), dest="inputs", action="append", default=[], metavar="NAME=VALUE", help="an input"
    ),
    argument("--team", default="", metavar="TEAM", help="whose run it is"),
    argument(
        "--tier", type=int, default=0, metavar="N", help="1 is the most important (default: the team's)"
    ),
    argument("--priority", type=int, default=0, metavar="N", help="among runs: more goes first (default: 0)"),
    argument("--resume", default="", metavar="RUN", help="go on with a run: only what is not done"),
    argument("--wait", action="store_true", help="show how it goes, and exit with its status"),
    _STATE,
    _JSON,
)
def submit(
    plan: Path,
    inputs: list[str],
    team: str,
    tier: int,
    priority: int,
    resume: str,
    wait: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Have the daemon execute a plan."""
    from flowrun.service import commands
    from flowrun.service.messages import Submit

    request = Submit(str(plan), tuple(inputs), team, tier, priority, resume)
    sys.exit(commands.submit(request, state, wait, as_json))


@app.command(argument("run", metavar="RUN", help="for example iris-7"), _STATE)
def cancel(run: str, state: Path) -> None:
    """Have the daemon end a run; asked again, at once."""
    from flowrun.service import commands

    print(commands.cancel(run, state))


@app.command(_STATE, _JSON)
def queue(state: Path, as_json: bool) -> None:
    """Show what waits in the daemon, for what, and what runs."""
    from flowrun.service import commands, views

    table = commands.queue(state)
    if as_json:
        _print_json(table)
    else:
        print(views.queue(table))


@app.command(
    argument("config", nargs="?", type=Path, metavar="FILE", help="check this configuration instead"),
    _DEVICES,
    _STATE,
    _JSON,
)
def teams(config: Path | None, devices: str, state: Path, as_json: bool) -> None:
    """Show what each team uses of the host, against what it is entitled to."""
    from flowrun.shell import team_views

    if config is None:
        from flowrun.service import commands

        rows = commands.teams(state)
    else:
        from flowrun.core.sharing.rows import team_rows
        from flowrun.core.sharing.shares import Shares
        from flowrun.shell.devices import host
        from flowrun.shell.teams import amounts, read

        capacity = host(devices)
        rows = team_rows(Shares(read(config, capacity), amounts(capacity)), {})
    if as_json:
        _print_json(rows)
    else:
        print(team_views.teams(rows))


@app.command(
    argument("plan", type=Path, nargs="?", metavar="PLAN", help="a plan file; or `--trace`"),
    _DEVICES,
    argument(
        *("-i", "--input"), dest="inputs", action="append", default=[], metavar="NAME=VALUE", help="an input"
    ),
    argument(
        "--history", type=Path, metavar="FILE", help="what calls took, as `flowrun history -o` writes it"
    ),
    argument(
        *("--assume",),
        action="append",
        default=[],
        metavar="NODE=ANSWER",
        help="what only a run knows: a loop's number of items, `then` or `otherwise` for a branch",
    ),
    argument("--seed", type=int, metavar="N", help="draw times from what was measured, instead of medians"),
    argument(
        *("--sweep",), dest="sweeps", action="append", default=[], metavar="gpus=1,2,4", help="compare hosts"
    ),
    argument(
        "--deadline", default="", metavar="TIME", help="the least CPUs or GPUs that are done in time: 2h"
    ),
    argument("--trace", type=Path, metavar="CSV", help="replay a queue of jobs instead of a plan"),
    argument("--teams", type=Path, metavar="TOML", help="of a trace: who shares the hosts, and how"),
    argument("--svg", type=Path, metavar="FILE", help="draw the schedule"),
    _JSON,
)
def simulate(
    plan: Path | None,
    devices: str,
    inputs: list[str],
    history: Path | None,
    assume: list[str],
    seed: int | None,
    sweeps: list[str],
    deadline: str,
    trace: Path | None,
    teams: Path | None,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Predict how long a plan takes on a host, and what decides that, without running it.

    flowrun simulate plans/main.plan.jsonl --devices big.toml --history history.jsonl --svg main.svg
    flowrun simulate plans/main.plan.jsonl --devices big.toml --sweep gpus=1,2,4,8 --deadline 2h
    flowrun simulate --trace jobs.csv --devices "16 hosts: 8xH100-80GB, 96 cores, 1 TiB" --teams teams.toml
    """
    if trace is not None:
        from flowrun.shell import traces

        replayed = traces.run(trace, devices, teams)
        if as_json:
            _print_json(replayed)
        else:
            print(traces.show(replayed))
        return
    if plan is None:
        from flowc.plan.diagnostics import refuse

        refuse("FR135", "neither a plan nor a trace is named", hint="flowrun simulate PLAN, or --trace CSV")
    from flowrun.shell import forecast
    from flowrun.shell.chart.terminal import columns
    from flowrun.shell.simulate import Request, run

    outcome = run(
        Request(plan, devices, tuple(inputs), history, tuple(assume), seed, tuple(sweeps), deadline)
    )
    if svg is not None:
        from flowrun.shell.chart.runs import write
        from flowrun.shell.chart.svg import draw

        title, chain = forecast.headline(outcome), set(outcome.findings.chain)
        write(svg, draw(outcome.timeline, title, forecast.told(outcome), chain))
    if as_json:
        _print_json(forecast.plain(outcome))
    else:
        print(forecast.text(outcome, columns()))


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


def _task(state: State, run: str, node: str) -> Task:
    import difflib

    from flowc.plan.diagnostics import refuse

    if node not in state.by_id:
        close = difflib.get_close_matches(node, state.by_id, 1)
        known = ", ".join(f"`{name}`" for name in list(state.by_id)[:20])
        hint = f"did you mean `{close[0]}`?" if close else f"its nodes are {known}"
        refuse("FR302", f"run `{run}` has no node `{node}`", hint=hint)
    return state.by_id[node]


def _print_json(value: Any) -> None:
    import msgspec

    print(msgspec.json.encode(value).decode())
