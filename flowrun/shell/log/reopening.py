"""Going on with a run: how it stood when it ended, and the right to execute it."""

from __future__ import annotations

from flowc.plan.diagnostics import refuse
from flowc.plan.model import Plan
from flowrun.core.state import State
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.runlog import RunLog


def reopen(home: Home, run: str, plan: Plan | None) -> tuple[State | None, RunLock]:
    """The state of the run that is to be resumed, and its lock: nobody else goes on with it meanwhile.

    It must be of the plan's workflow; without one, its own plan counts.
    """
    log = RunLog(home)
    log.find(run)
    lock = RunLock(home, run)
    state = reopened(log, run, plan)
    log.close()
    return state, lock


def reopened(log: RunLog, run: str, plan: Plan | None) -> State | None:
    """The state of a run that a plan is to go on with; `Refused` (FR304) if it is of another workflow.

    Without a plan, the run's own counts.
    """
    row = log.find(run)
    state = log.state_of(run)
    if plan is not None and state is not None and state.plan.header.workflow != plan.header.workflow:
        hint = f"`flowrun execute {row.plan_file} --resume {run}`"
        message = f"run `{run}` is of `{state.plan.header.workflow}`, the plan of `{plan.header.workflow}`"
        refuse("FR304", message, hint=hint)
    return state
