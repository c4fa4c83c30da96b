"""Commands that execute plans, and those that end it."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any, NoReturn

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import CACHE, DEVICES, INPUTS, JSON, PLAN, RESUME, RUN, SENT, STATE, TAG

_EXPLAIN = argument(
    "--explain-schedule", action="store_true", help="at the end, say which nodes waited for what"
)
_DRY = argument("--dry-run", dest="dry", action="store_true", help="only say what would run")
_NO_PICKLE = argument(
    "--no-pickle", action="store_true", help="refuse a plan of which some results would be pickled"
)


@app.command(PLAN, INPUTS, RESUME, *CACHE, _NO_PICKLE, TAG, *SENT, DEVICES, _EXPLAIN, STATE, JSON)
def execute(plan: Path, inputs: list[str], resume: str, tags: list[str], **rest: Any) -> None:
    """Execute a plan.

    Exits with 0 if the run succeeded, 1 if it failed, 130 if it was cancelled.
    """
    _launch(plan=plan, inputs=inputs, resume=resume, tags=tags, **rest)


@app.command(
    RUN,
    argument("--from", dest="again", action="append", default=[], metavar="NODE", help="run this node, too"),
    _DRY,
    *SENT,
    DEVICES,
    _EXPLAIN,
    STATE,
    JSON,
)
def retry(run: str, again: list[str], **rest: Any) -> None:
    """Go on with a run as it was planned: with what failed, or from a node on.

    flowrun retry iris-7               what failed, was blocked or did not come to it
    flowrun retry iris-7 --from train  `train`, and all that comes of it; the rest is kept
    """
    _launch(plan=None, resume=run, again=again, **rest)


@app.command(RUN, INPUTS, *CACHE, TAG, _DRY, *SENT, DEVICES, _EXPLAIN, STATE, JSON)
def rerun(run: str, inputs: list[str], tags: list[str], **rest: Any) -> None:
    """Execute the plan of a run once more, as a new run, with some inputs changed.

    Says beforehand which nodes need not run, as nothing that they depend on has changed.
    flowrun rerun iris-7 -i seed=3
    """
    _launch(plan=None, like=run, inputs=inputs, tags=tags, **rest)


def _launch(**asked: Any) -> NoReturn:
    from flowc.plan.lean import import_msgspec
    from flowrun.shell.workers.forkserver import own_zygote

    zygote = own_zygote()
    import_msgspec()
    from flowrun.shell.launch import Request, launch

    for several in ("on_end", "refresh", "again", "inputs", "tags"):
        asked[several] = tuple(asked.get(several, ()))
    status = launch(Request(**asked), zygote)
    sys.stdout.flush()
    sys.stderr.flush()
    # Everything is durable and said. Taking the interpreter apart would cost more than running a node.
    os._exit(status)


@app.command(RUN, STATE)
def cancel(run: str, state: Path) -> None:
    """End a run that a process here or the daemon executes; asked again, at once."""
    from flowrun.shell.log.home import Home
    from flowrun.shell.log.runlog import RunLog

    log = RunLog(Home(state))
    row = log.find(run)
    opened = log.opened(row.run)
    if opened is not None and opened.submission is not None:
        from flowrun.service import commands

        print(commands.cancel(run, state))
    else:
        from flowrun.shell import cancelling

        print(cancelling.cancel(log.home, row))
