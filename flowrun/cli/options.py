"""What commands have in common: arguments, finding what is asked for, printing for machines."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowc.plan.command import argument

if TYPE_CHECKING:
    from flowrun.shell.log.runlog import RunLog

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
CACHE = (
    argument(
        "--no-cache",
        dest="cached",
        action="store_false",
        help="compute all of it, whatever other runs have computed",
    ),
    argument(
        "--refresh",
        action="append",
        default=[],
        metavar="NODE",
        help="compute this node, or all nodes of this call, even if another run has",
    ),
)
TAG = argument(
    "--tag", dest="tags", action="append", default=[], metavar="NAME=VALUE", help="to find the run by later"
)
ON_END = argument(
    "--on-end",
    action="append",
    default=[],
    metavar="COMMAND|URL",
    help="at the end, run this with a summary as JSON on its standard input, or POST that to a URL",
)
_OTEL = argument("--otel", default="", metavar="URL", help="send spans to this OpenTelemetry endpoint (OTLP)")
_LINEAGE = argument("--openlineage", default="", metavar="URL|FILE", help="send OpenLineage events there")
SENT = (ON_END, _OTEL, _LINEAGE)
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
    from flowrun.shell.log.home import Home
    from flowrun.shell.log.runlog import RunLog

    return RunLog(Home(folder))


def print_json(value: Any) -> None:
    """Print a value in one line."""
    import msgspec

    print(msgspec.json.encode(value).decode())
