"""The commands that talk to the daemon: submit, cancel, queue, teams."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec

from flowc.plan.diagnostics import refuse
from flowc.plan.text import counted
from flowrun.core.sharing.rows import TeamRow
from flowrun.service import sockets
from flowrun.service.follow import follow
from flowrun.service.messages import (
    AskQueue,
    AskTeams,
    Cancel,
    Cancelling,
    QueueAnswer,
    Submit,
    Submitted,
    TeamsAnswer,
)
from flowrun.service.tables import QueueTable
from flowrun.shell.exporting.ending import is_url
from flowrun.shell.launch import DEFAULT_STATE
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.presenting import conclude
from flowrun.shell.saying import say
from flowrun.shell.showing.watchers import watcher

_INTERRUPTED = 130


def submit(request: Submit, state: Path, wait: bool, as_json: bool) -> int:
    """Queue a run, and maybe follow it; the exit status. Commands that are told of its end are run here."""
    home = Home(state)
    commands = tuple(target for target in request.on_end if not is_url(target)) if wait else ()
    told = tuple(target for target in request.on_end if target not in commands)
    since = RunLog(home).length(request.resume) if request.resume else 0
    file = Path(request.plan)
    answer = sockets.ask(home, msgspec.structs.replace(request, plan=str(file.absolute()), on_end=told))
    assert isinstance(answer, Submitted)
    if as_json:
        say([msgspec.json.encode(msgspec.structs.asdict(answer)).decode()])
    else:
        kept = f", {counted(answer.kept, 'result')} kept" if request.resume else ""
        whose = f"for team `{answer.team}` in tier {answer.tier}"
        say([f"{answer.run}: {counted(answer.nodes, 'node')}{kept}, {whose}"])
    return _wait(home, answer, since, file, as_json, commands) if wait else 0


def cancel(run: str, state: Path) -> str:
    """Ask the daemon to end a run; a sentence about it."""
    home = Home(state)
    row = RunLog(home).find(run)
    if row.status not in ("running", "interrupted"):
        refuse("FR146", f"run `{row.run}` is over: it {'was ' * (row.status == 'cancelled')}{row.status}")
    answer = sockets.ask(home, Cancel(row.run))
    assert isinstance(answer, Cancelling)
    running = counted(answer.running, "node")
    verb = "is" if answer.running == 1 else "are"
    if not answer.running:
        said = f"{answer.run}: cancelled"
    elif answer.forced:
        said = f"{answer.run}: {running} {verb} made to end"
    else:
        said = f"{answer.run}: {running} {verb} asked to end; again: at once"
    later = f"; that is written when the run log can be ({answer.outage})" if answer.outage else ""
    return said + later


def queue(state: Path) -> QueueTable:
    """What waits in the daemon, and what runs."""
    answer = sockets.ask(Home(state), AskQueue())
    assert isinstance(answer, QueueAnswer)
    return answer.table


def teams(state: Path) -> list[TeamRow]:
    """What each team has."""
    answer = sockets.ask(Home(state), AskTeams())
    assert isinstance(answer, TeamsAnswer)
    return answer.rows


def _wait(home: Home, answer: Submitted, since: int, plan: Path, as_json: bool, on_end: Sequence[str]) -> int:
    run = answer.run
    where = f" --state {home.folder}" if home.folder != DEFAULT_STATE else ""
    try:
        ended = follow(home, run, watcher(as_json, run), since)
    except KeyboardInterrupt:
        print(f"\n{run} goes on; end it with `flowrun cancel {run}{where}`", file=sys.stderr)
        return _INTERRUPTED
    if ended is None:
        next_one = f"the next one goes on with it: `flowrun daemon{where}`"
        print(f"\nthe daemon is gone, or has set {run} aside; {next_one}", file=sys.stderr)
        return 1
    team = f" --team {answer.team}" if answer.team != "default" else ""
    again = f"flowrun submit {plan} --resume {run}{team}{where}"
    return conclude(run, ended, home, as_json, again, on_end)
