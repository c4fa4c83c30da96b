"""Commands that put what was kept in order."""

from __future__ import annotations

from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import RUN, STATE


@app.command(RUN, argument("tags", nargs="+", metavar="NAME=VALUE", help="`NAME=` takes the tag away"), STATE)
def tag(run: str, tags: list[str], state: Path) -> None:
    """Tag a run, whether it is over or not, to find it by later.

    flowrun tag iris-7 team=ads best=yes
    flowrun runs --where "tag.team=ads"
    """
    from flowrun.shell.log.tags import tag_run

    print(tag_run(state, run, tags))
