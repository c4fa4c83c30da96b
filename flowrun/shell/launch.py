"""`flowrun execute`: from a plan file and inputs to an execution and its summary.

What the zygote is to import is told to it as soon as the plan is read. All else that an execution needs is
loaded while it does: nobody waits for both.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from flowc.plan import codec
from flowc.plan.diagnostics import refuse
from flowc.plan.model import Plan
from flowrun.shell.log.home import Home
from flowrun.shell.preparing import bound, prepare
from flowrun.shell.readiness import Readiness
from flowrun.shell.workers.forkserver import ZygoteProcess
from flowrun.shell.workers.pool import Pool

if TYPE_CHECKING:
    from flowrun.core.state import State
    from flowrun.shell.log.locks import RunLock

DEFAULT_STATE = Path(".flow")


class Request(msgspec.Struct, frozen=True):
    """What the command line asks for.

    Without a `plan` it is that of the run to `resume`, in which `again` names nodes that are to run once
    more, or that of the run that a new one is to be `like`.
    """

    plan: Path | None
    inputs: tuple[str, ...] = ()
    resume: str = ""
    devices: str = ""
    state: Path = DEFAULT_STATE
    as_json: bool = False
    explain_schedule: bool = False
    cached: bool = True
    refresh: tuple[str, ...] = ()
    no_pickle: bool = False
    again: tuple[str, ...] = ()
    like: str = ""
    tags: tuple[str, ...] = ()
    dry: bool = False  # only say what would run
    on_end: tuple[str, ...] = ()  # commands and URLs that are told of the end
    otel: str = ""
    openlineage: str = ""


class Beginning(NamedTuple):
    """What is to be executed: a plan, its file, how the run stood before, and its lock if it was resumed."""

    plan: Plan
    file: str
    before: State | None = None
    lock: RunLock | None = None


def launch(request: Request, zygote: ZygoteProcess) -> int:
    """Execute a plan and show how it goes; the exit status."""
    readiness = Readiness()
    pool = Pool(zygote, readiness)
    try:
        home = Home(request.state)
        tags, targets = _tags(request.tags), _targets(request)
        beginning = _begin(home, request)
        inputs = bound(beginning.plan, request.inputs, beginning.before)
        prepare(pool, beginning.plan, home)
        from flowrun.shell.conducting import conduct, explain

        conducted = conduct(request, beginning, inputs, home, pool, readiness, tags, targets)
    finally:
        pool.close()
    if conducted is None:
        return 0
    from flowrun.shell.presenting import conclude

    run, state, log, exports = conducted
    status = conclude(run, state, home, request.as_json, _again(request, run), request.on_end)
    if exports is not None:
        exports.finish()
    if request.explain_schedule:
        explain(run, state, log, request.as_json)
    pool.wait()
    return status


def _begin(home: Home, request: Request) -> Beginning:
    if request.like:
        from flowrun.shell.log.finding import state_of
        from flowrun.shell.log.runlog import RunLog

        log = RunLog(home)
        row = log.find(request.like)
        like = state_of(log, row.run)
        log.close()
        return Beginning(like.plan, row.plan_file, like)
    plan = codec.read(request.plan) if request.plan else None
    before, lock = None, None
    if request.resume:
        from flowrun.shell.log.reopening import reopen

        before, lock = reopen(home, request.resume, plan)
    if plan is None:
        if before is None:
            message = f"run `{request.resume}` ended before it began: nothing was recorded"
            refuse("FR301", message, hint="execute its plan again")
        plan = before.plan
    return Beginning(plan, str(request.plan), before, lock)


def _tags(texts: Sequence[str]) -> dict[str, str]:
    if not texts:
        return {}
    from flowrun.shell.log.tags import tags_of

    return tags_of(texts)


def _targets(request: Request) -> dict[str, str]:
    """Where the run is to be sent while it goes on."""
    asked = request.otel or request.openlineage
    if not asked and not any(name.startswith("OTEL_EXPORTER_OTLP_") for name in os.environ):
        return {}
    from flowrun.shell.exporting.sending import wanted

    return wanted(request.otel, request.openlineage, os.environ)


def _again(request: Request, run: str) -> str:
    """The command that goes on with a run."""
    words = [f"execute {request.plan} --resume {run}" if request.plan else f"retry {run}"]
    if request.devices:
        import shlex

        words.append(f"--devices {shlex.quote(request.devices)}")
    if request.state != DEFAULT_STATE:
        words.append(f"--state {request.state}")
    return f"flowrun {' '.join(words)}"
