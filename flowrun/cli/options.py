"""What commands have in common: arguments, finding what is asked for, printing for machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowc.plan.command import argument

if TYPE_CHECKING:
    from flowrun.core.state import State
    from flowrun.core.task import Task
    from flowrun.shell.runlog import RunLog

PLAN = argument("plan", type=Path, metavar="PLAN", help="a plan file")
INPUTS = argument(
    *("-i", "--input"), dest="inputs", action="append", default=[], metavar="NAME=VALUE", help="an input"
)
RUN = argument("run", metavar="RUN", help="for example iris-7")
ANY_RUN = argument(
    "run", nargs="?", default="", metavar="RUN", help="for example iris-7; the latest if left out"
)
NODE = argument("node", metavar="NODE", help="a node of its plan")
RESUME = argument("--resume", default="", metavar="RUN", help="go on with a run: only what is not done")
DEVICES = argument(
    "--devices",
    default="",
    metavar="HOST",
    help="a TOML file or `2xH100-80GB, 8 cores, 64 GiB`: pretend this host; `licence=1`: it has this, too",
)
STATE = argument(
    "--state",
    type=Path,
    metavar="DIR",
    default=os.environ.get("FLOW_STATE", ".flow"),
    help="where runs and artifacts are kept (default: $FLOW_STATE, or .flow)",
)
JSON = argument("--json", dest="as_json", action="store_true", help="print JSON for machines")


def open_log(folder: Path) -> RunLog:
    """The run log of a project, to read."""
    from flowrun.shell.runlog import Home, RunLog

    return RunLog(Home(folder))


def state_of(log: RunLog, run: str) -> State:
    """How a run stands; `Refused` (FR301) if it never began."""
    from flowc.plan.diagnostics import refuse

    state = log.state_of(run)
    if state is None:
        refuse(
            "FR301", f"run `{run}` ended before it began: nothing was recorded", hint="execute its plan again"
        )
    return state


def task_of(state: State, run: str, node: str) -> Task:
    """A node of a run; `Refused` (FR302) if it has none of that name."""
    import difflib

    from flowc.plan.diagnostics import refuse

    if node not in state.by_id:
        close = difflib.get_close_matches(node, state.by_id, 1)
        known = ", ".join(f"`{name}`" for name in list(state.by_id)[:20])
        hint = f"did you mean `{close[0]}`?" if close else f"its nodes are {known}"
        refuse("FR302", f"run `{run}` has no node `{node}`", hint=hint)
    return state.by_id[node]


def print_json(value: Any) -> None:
    """Print a value in one line."""
    import msgspec

    print(msgspec.json.encode(value).decode())
