"""Commands that tell where things come from."""

from __future__ import annotations

from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import JSON, STATE, open_log, print_json


@app.command(
    argument("target", metavar="TARGET", help="RUN/NODE, an artifact's hash, MODEL or MODEL/VERSION"),
    argument("--models", type=Path, metavar="DIR", default=Path("models"), help="the model repository"),
    STATE,
    JSON,
)
def lineage(target: str, models: Path, state: Path, as_json: bool) -> None:
    """Show what something was made from, down to data and code, and what was made from it."""
    from flowrun.shell.showing.lineage import lineage as found
    from flowrun.shell.showing.lineage import text

    answer = found(open_log(state), target, models)
    if as_json:
        print_json(answer)
    else:
        print(text(answer))
