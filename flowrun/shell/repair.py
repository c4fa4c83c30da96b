"""`flowrun verify --repair`: what is damaged is made again, by the runs that had made it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from flowc.plan.diagnostics import Refused, print_refusal
from flowrun.shell.keeping.verify import Damage, Verified, verify
from flowrun.shell.launch import Request, launch
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.workers.forkserver import start_zygote

_INTERRUPTED = 130


def repair(state: Path, found: Verified, devices: str = "", as_json: bool = False) -> Verified:
    """Go on with runs that made what is damaged; what is found thereafter.

    Of each damaged file the latest run is tried first, as `flowrun retry` does it: nodes whose results are
    damaged run again, beside what is left to do. Where that does not give the same, the next one is tried.
    """
    tried: set[str] = set()
    while runs := chosen(found.damage, tried):
        for run in runs:
            tried.add(run)
            request = Request(None, resume=run, devices=devices, state=state, as_json=as_json)
            try:
                status = launch(request, start_zygote())
            except Refused as refusal:  # somebody goes on with it now, or what it needs is not there
                print_refusal(refusal)
                continue
            if status == _INTERRUPTED:
                return verify(RunLog(Home(state)))
        found = verify(RunLog(Home(state)))
    return found


def chosen(damage: Sequence[Damage], tried: Collection[str]) -> list[str]:
    """Runs that made, between them, all that is damaged: of each file the latest that was not tried yet."""
    runs: dict[str, None] = {}
    for damaged in damage:
        makers = [run for run, _ in damaged.made_by if run not in tried]
        if makers and runs.keys().isdisjoint(makers):
            runs[makers[-1]] = None
    return list(runs)
