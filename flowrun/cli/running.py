"""Commands that make runs, and change what becomes of them."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import DEVICES, INPUTS, JSON, PLAN, RESUME, RUN, STATE


@app.command(
    PLAN,
    INPUTS,
    RESUME,
    DEVICES,
    argument("--explain-schedule", action="store_true", help="at the end, say which nodes waited for what"),
    argument("--no-pickle", action="store_true", help="refuse a plan of which some results would be pickled"),
    STATE,
    JSON,
)
def execute(
    plan: Path,
    inputs: list[str],
    resume: str,
    devices: str,
    explain_schedule: bool,
    no_pickle: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Execute a plan.

    Exits with 0 if the run succeeded, 1 if it failed, 130 if it was cancelled.
    """
    from flowrun.shell.forkserver import fork_zygote

    zygote = fork_zygote()  # before what follows is imported: it is small now, and can import meanwhile
    from flowrun.shell.launch import Request, launch

    given = (plan, tuple(inputs), resume, devices, state, as_json, explain_schedule, no_pickle)
    status = launch(Request(*given), zygote)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is durable and said. Taking the interpreter apart would cost more than running a node.
    os._exit(status)


@app.command(RUN, STATE)
def cancel(run: str, state: Path) -> None:
    """Have the daemon end a run; asked again, at once."""
    from flowrun.service import commands

    print(commands.cancel(run, state))
