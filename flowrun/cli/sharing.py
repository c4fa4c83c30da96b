"""Commands of a host that many share: the daemon, and what asks it."""

from __future__ import annotations

import sys
from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import (
    CACHE,
    DEVICES,
    INPUTS,
    JSON,
    ON_END,
    PLAN,
    RESUME,
    SENT,
    STATE,
    TAG,
    print_json,
)


@app.command(
    argument("--teams", type=Path, metavar="FILE", help="who shares the host, and how: teams.toml"),
    DEVICES,
    argument(
        "--grace",
        dest="grace_s",
        type=float,
        metavar="S",
        default=30,
        help="how long what runs may go on at the end",
    ),
    ON_END,
    STATE,
)
def daemon(teams: Path | None, devices: str, grace_s: float, on_end: list[str], state: Path) -> None:
    """Execute what `flowrun submit` queues, for many teams on one host, until a signal comes.

    After the first signal nothing starts any more, and what runs may come to its end; the second ends all at
    once. The next daemon goes on with what is not done.
    """
    from flowrun.service.daemon import Settings, serve

    serve(Settings(teams, devices, state, grace_s, tuple(on_end)))


@app.command(
    PLAN,
    INPUTS,
    argument("--team", default="", metavar="TEAM", help="whose run it is"),
    argument(
        "--tier", type=int, default=0, metavar="N", help="1 is the most important (default: the team's)"
    ),
    argument("--priority", type=int, default=0, metavar="N", help="among runs: more goes first (default: 0)"),
    RESUME,
    *CACHE,
    TAG,
    *SENT,
    argument("--wait", action="store_true", help="show how it goes, and exit with its status"),
    STATE,
    JSON,
)
def submit(
    plan: Path,
    inputs: list[str],
    team: str,
    tier: int,
    priority: int,
    resume: str,
    cached: bool,
    refresh: list[str],
    tags: list[str],
    on_end: list[str],
    otel: str,
    openlineage: str,
    wait: bool,
    state: Path,
    as_json: bool,
) -> None:
    """Have the daemon execute a plan.

    It sends the run, when that has ended, to the URLs that are named. A command is run here: with `--wait`.
    """
    from flowrun.service import commands
    from flowrun.service.messages import Submit

    request = Submit(
        str(plan),
        tuple(inputs),
        team,
        tier,
        priority,
        resume,
        cached,
        tuple(refresh),
        tuple(tags),
        otel,
        openlineage,
        tuple(on_end),
    )
    sys.exit(commands.submit(request, state, wait, as_json))


@app.command(STATE, JSON)
def queue(state: Path, as_json: bool) -> None:
    """Show what waits in the daemon, for what, and what runs."""
    from flowrun.service import commands, views

    table = commands.queue(state)
    if as_json:
        print_json(table)
    else:
        print(views.queue(table))


@app.command(
    argument("config", nargs="?", type=Path, metavar="FILE", help="check this configuration instead"),
    DEVICES,
    STATE,
    JSON,
)
def teams(config: Path | None, devices: str, state: Path, as_json: bool) -> None:
    """Show what each team uses of the host, against what it is entitled to."""
    from flowrun.shell.showing import team_views

    if config is None:
        from flowrun.service import commands

        rows = commands.teams(state)
    else:
        from flowrun.core.sharing.rows import team_rows
        from flowrun.core.sharing.shares import Shares
        from flowrun.shell.host.devices import host
        from flowrun.shell.teams import amounts, read

        capacity = host(devices)
        rows = team_rows(Shares(read(config, capacity), amounts(capacity)), {})
    if as_json:
        print_json(rows)
    else:
        print(team_views.teams(rows))
