"""Commands that look after what runs made."""

from __future__ import annotations

import sys
from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import DEVICES, JSON, RUN, STATE, open_log, print_json


@app.command(
    argument("--keep-days", type=float, metavar="N", help="keep what runs of the last N days made"),
    argument("--keep-runs", type=int, metavar="N", help="keep what the last N runs of each workflow made"),
    argument("--dry-run", action="store_true", help="only tell what would be removed"),
    STATE,
    JSON,
)
def gc(keep_days: float | None, keep_runs: int | None, dry_run: bool, state: Path, as_json: bool) -> None:
    """Remove artifacts that no run needs; of runs that are not to be kept, artifacts and logs.

    Without --keep-days and --keep-runs all runs are kept, and only what none of them refers to is removed.
    With both, a run is kept if either says so. Rows of the log stay, and runs that go on lose nothing.
    """
    from flowrun.shell.clock import now_ms
    from flowrun.shell.keeping.retention import Retention, collect, told

    found = collect(open_log(state), Retention(keep_days, keep_runs), now_ms(), dry_run)
    if as_json:
        print_json(found)
    else:
        print(told(found, dry_run))


@app.command(
    argument("--repair", action="store_true", help="make what is damaged again, by the runs that made it"),
    DEVICES,
    STATE,
    JSON,
)
def verify(repair: bool, devices: str, state: Path, as_json: bool) -> None:
    """Read all that runs made, and the log, and tell what is damaged; exit status 1 if anything is."""
    from flowc.plan.diagnostics import Refused, print_refusal
    from flowc.plan.text import counted
    from flowrun.shell.keeping.retention import size
    from flowrun.shell.keeping.verify import verify as look

    found = look(open_log(state))
    if repair and found.damage:
        from flowrun.shell.repair import repair as mend

        if not as_json:
            print_refusal(Refused(*found.problems))
        found = mend(state, found, devices, as_json)
    if as_json:
        print_json(found)
    else:
        if found.problems:
            print_refusal(Refused(*found.problems))
        wrong = counted(len(found.problems), "problem") if found.problems else "all sound"
        print(
            f"{counted(found.files, 'file')}, {size(found.bytes)}, of {counted(found.runs, 'run')}: {wrong}"
        )
    sys.exit(1 if found.problems else 0)


@app.command(
    RUN, argument("node", nargs="?", default="", metavar="NODE", help="a node of its plan"), STATE, JSON
)
def artifacts(run: str, node: str, state: Path, as_json: bool) -> None:
    """List what the nodes of a run made and logged: addresses RUN/NODE/OUTPUT/HASH, sizes, files."""
    from flowc.plan.text import columns
    from flowrun.core.logged import gather
    from flowrun.shell.keeping.addresses import outputs
    from flowrun.shell.keeping.retention import size
    from flowrun.shell.log.finding import state_of, task_of

    log = open_log(state)
    row = log.find(run)
    held = state_of(log, row.run)
    if node:
        node = task_of(held, row.run, node).node.id
    logged = gather(log.changes(row.run)).artifacts
    found = list(outputs(row.run, held, log.home.store, node, logged))
    if as_json:
        print_json(found)
    elif found:
        cells = [("address", "form", "size", "file")]
        cells += [(one.address, one.form, size(one.bytes), one.path or "in the run log") for one in found]
        print("\n".join(columns(cells)))
    else:
        print(f"`{node or row.run}` has made nothing yet", file=sys.stderr)


@app.command(
    argument("address", metavar="ADDRESS", help="RUN/NODE/OUTPUT/HASH; RUN/NODE is the whole result"),
    argument("-o", "--output", type=Path, metavar="FILE", help="write the artifact's content to a file"),
    STATE,
)
def get(address: str, output: Path | None, state: Path) -> None:
    """Show what a node made or logged, or write it to a file as it is stored: .npy, .safetensors, ..."""
    from flowrun.shell.keeping.addresses import get as fetch
    from flowrun.shell.showing.report import abbreviate

    found = fetch(open_log(state), address, output)
    if output is None:
        print_json(abbreviate(found))
