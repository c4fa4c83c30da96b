"""Commands that say beforehand how long a plan takes."""

from __future__ import annotations

from pathlib import Path

from flowc.plan.command import argument
from flowrun.cli import app
from flowrun.cli.options import DEVICES, INPUTS, JSON, STATE, open_log, print_json


@app.command(
    argument("plan", type=Path, nargs="?", metavar="PLAN", help="a plan file; or `--trace`"),
    DEVICES,
    INPUTS,
    argument(
        "--history", type=Path, metavar="FILE", help="what calls took, as `flowrun history -o` writes it"
    ),
    argument(
        *("--assume",),
        action="append",
        default=[],
        metavar="NODE=ANSWER",
        help="what only a run knows: a loop's number of items, `then` or `otherwise` for a branch",
    ),
    argument("--seed", type=int, metavar="N", help="draw times from what was measured, instead of medians"),
    argument(
        *("--sweep",), dest="sweeps", action="append", default=[], metavar="gpus=1,2,4", help="compare hosts"
    ),
    argument(
        "--deadline", default="", metavar="TIME", help="the least CPUs or GPUs that are done in time: 2h"
    ),
    argument("--trace", type=Path, metavar="CSV", help="replay a queue of jobs instead of a plan"),
    argument("--teams", type=Path, metavar="TOML", help="of a trace: who shares the hosts, and how"),
    argument("--svg", type=Path, metavar="FILE", help="draw the schedule"),
    JSON,
)
def simulate(
    plan: Path | None,
    devices: str,
    inputs: list[str],
    history: Path | None,
    assume: list[str],
    seed: int | None,
    sweeps: list[str],
    deadline: str,
    trace: Path | None,
    teams: Path | None,
    svg: Path | None,
    as_json: bool,
) -> None:
    """Predict how long a plan takes on a host, and what decides that, without running it.

    flowrun simulate plans/main.plan.jsonl --devices big.toml --history history.jsonl --svg main.svg
    flowrun simulate plans/main.plan.jsonl --devices big.toml --sweep gpus=1,2,4,8 --deadline 2h
    flowrun simulate --trace jobs.csv --devices "16 hosts: 8xH100-80GB, 96 cores, 1 TiB" --teams teams.toml
    """
    if trace is not None:
        from flowrun.shell.simulating import replaying

        replayed = replaying.run(trace, devices, teams)
        if as_json:
            print_json(replayed)
        else:
            print(replaying.show(replayed))
        return
    if plan is None:
        from flowc.plan.diagnostics import refuse

        refuse("FR135", "neither a plan nor a trace is named", hint="flowrun simulate PLAN, or --trace CSV")
    from flowrun.shell.chart.terminal import columns
    from flowrun.shell.simulating import forecast
    from flowrun.shell.simulating.simulate import Request, run

    outcome = run(
        Request(plan, devices, tuple(inputs), history, tuple(assume), seed, tuple(sweeps), deadline)
    )
    if svg is not None:
        from flowrun.shell.chart.runs import write
        from flowrun.shell.chart.svg import draw

        title, chain = forecast.headline(outcome), set(outcome.findings.chain)
        write(svg, draw(outcome.timeline, title, forecast.told(outcome), chain))
    if as_json:
        print_json(forecast.plain(outcome))
    else:
        print(forecast.text(outcome, columns()))


@app.command(
    argument("-o", "--output", type=Path, metavar="FILE", help="write a file for `flowc compile --history`"),
    STATE,
    JSON,
)
def history(output: Path | None, state: Path, as_json: bool) -> None:
    """Show what each operator took in all runs: time and memory of the calls that succeeded."""
    from flowc.plan.diagnostics import refuse
    from flowc.plan.history import encode
    from flowc.plan.text import counted
    from flowrun.shell.showing.views import measurements

    measured = open_log(state).history()
    records = measured.records
    if output is not None:
        try:
            output.write_bytes(encode(*measured))
        except OSError as error:
            refuse("FC260", f"cannot write the history `{output}`: {error.strerror}")
    if as_json:
        print_json(records)
    elif not records:
        print(f"nothing has been measured in `{state}` yet; `flowrun execute PLAN` does")
    elif output is None:
        print(measurements(records))
    else:
        calls = counted(sum(row.runs for row in records), "call")
        print(f"{output}: {calls} of {counted(len(records), 'operator')}")


@app.command(DEVICES, JSON)
def devices(devices: str, as_json: bool) -> None:
    """Show what this host has for nodes, or what one would have that is described, and what it is held to."""
    import os
    import sys

    import msgspec

    from flowrun.shell.host.cgroups import delegated
    from flowrun.shell.host.devices import describe, host
    from flowrun.shell.workers.descendants import tree

    capacity = host(devices, tell=lambda note: print(f"note: {note}", file=sys.stderr))
    folder = delegated(lambda: tree(os.getpid()))
    if as_json:
        print_json({**msgspec.to_builtins(capacity), "control_group": str(folder or "")})
        return
    print(describe(capacity))
    if folder is not None:
        print(
            f"memory that nodes ask for is all that the kernel lets them have, by control groups in {folder}"
        )
    else:
        print(
            "memory is watched: nodes that take more than they ask for are ended, a quarter of a second later"
        )
