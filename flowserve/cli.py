"""The `flowserve` command. Whatever is heavy is imported by the command that needs it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowc.plan.command import App, argument

if TYPE_CHECKING:
    from flowserve.core.wire.addresses import Address
    from flowserve.shell.models.repository import ModelFolder

app = App("flowserve", "Serve predictions of ONNX models over HTTP and gRPC.")

_DEFAULT_ADDRESS = "127.0.0.1:8000"
_MODELS = argument(
    "--models", type=Path, default="models", metavar="DIR", help="the model repository (default: models)"
)
_ADDRESS = argument(
    "--http",
    default=_DEFAULT_ADDRESS,
    metavar="ADDRESS",
    help=f"the server's address, HOST:PORT or unix:PATH (default: {_DEFAULT_ADDRESS})",
)
_JSON = argument("--json", dest="as_json", action="store_true", help="print JSON for machines")


def main() -> None:
    """Entry point."""
    app()


@app.command(
    argument("--models", metavar="DIR", help="the model repository (default: models)"),
    argument(
        "--http",
        metavar="ADDRESS",
        help=f"where to listen, HOST:PORT or unix:PATH (default: {_DEFAULT_ADDRESS})",
    ),
    argument("--grpc", metavar="ADDRESS", help="answer gRPC too, at this address"),
    argument("--processes", type=int, metavar="N", help="how many answer (default: what fits this host)"),
    argument("--devices", metavar="HOST", help="what GPUs are here, as `2xA100-40GB, 8 cores, 64 GiB`"),
    argument("--tls-cert", metavar="FILE", help="the server's certificate chain, as PEM"),
    argument("--tls-key", metavar="FILE", help="the certificate's key, as PEM"),
    argument("--tokens", metavar="FILE", help="who may ask: a token a line (or $FLOWSERVE_TOKENS)"),
    argument(
        "--trust-network",
        action="store_true",
        default=None,
        help="let other hosts ask without TLS and tokens",
    ),
    argument(
        "--model-control", action="store_true", default=None, help="let requests load and unload models"
    ),
    argument(
        "--no-batching",
        dest="batching",
        action="store_false",
        default=None,
        help="run every request by itself",
    ),
    argument("--access-log", metavar="FILE", help="write a line for every request"),
    argument("--otel", metavar="URL", help="send spans of requests to an OTLP receiver"),
    argument("--config", type=Path, metavar="FILE", help="a TOML file; options go before what it says"),
)
def start(config: Path | None, **options: Any) -> None:
    """Serve every model of a repository until SIGTERM or Ctrl-C. Port 0 takes a free one."""
    import os

    from flowserve.shell.processes.start import configured, start_server

    start_server(configured(config, options), os.environ)


@app.command(
    argument("model", metavar="MODEL", help="a name, NAME@ALIAS or NAME/versions/VERSION"),
    argument("rows", metavar="ROWS", help="JSON, as in '[[5.1, 3.5, 1.4, 0.2]]'"),
    _ADDRESS,
    _JSON,
)
def predict(model: str, rows: str, http: str, as_json: bool) -> None:
    """Ask a running server for predictions: one line a row."""
    import json
    import os

    from flowserve.shell.wire.client import Client, parse_rows, parse_server

    client = Client(parse_server(http), os.environ.get("FLOWSERVE_TOKEN", ""))
    prediction = client.predict(model, parse_rows(rows))
    if as_json:
        print(json.dumps(prediction.rows, ensure_ascii=False))
        return
    for row in prediction.rows:
        if prediction.labelled:
            print(f"{row['label']}  {row['probability']:.3f}")
        else:
            print("  ".join(f"{name}={json.dumps(value, ensure_ascii=False)}" for name, value in row.items()))


@app.command(
    _MODELS,
    argument("--running", action="store_true", help="ask the server of --http what it has instead"),
    _ADDRESS,
    _JSON,
    name="models",
)
def list_models(models: Path, running: bool, http: str, as_json: bool) -> None:
    """List the models and versions of a repository on disk, or of a running server."""
    import json

    from flowc.plan.text import columns

    if running:
        from flowserve.shell.processes.commands import show_models

        show_models(_address(http), as_json)
        return
    from flowserve.shell.models.repository import scan

    folders = scan(models)
    if as_json:
        print(json.dumps([_described(folder) for folder in folders], ensure_ascii=False))
        return
    table = [("model", "versions", "labels")]
    for folder in folders:
        labels = [label for names in folder.labels.values() for label in names]
        table.append((folder.name, ", ".join(map(str, folder.versions)), ", ".join(labels) or "-"))
    print("\n".join(columns(table)))


@app.command(
    argument("model", metavar="MODEL", help="a name, or NAME/versions/VERSION"),
    _ADDRESS,
    argument("--grpc", default="", metavar="ADDRESS", help="ask over gRPC, at this address"),
    argument("--binary", action="store_true", help="send and get raw tensors, over HTTP"),
    argument("--connections", type=int, default=1, metavar="N", help="so many ask at once (default: 1)"),
    argument(
        "--rate",
        type=float,
        default=0.0,
        metavar="R",
        help="send R requests a second, whatever becomes of them (default: the next once one is answered)",
    ),
    argument("--seconds", type=float, default=10.0, metavar="S", help="how long (default: 10)"),
    argument("--warm-up", type=float, default=1.0, metavar="S", help="not counted, before (default: 1)"),
    argument("--rows", type=int, default=1, metavar="N", help="rows of a request (default: 1)"),
    argument("--data", type=Path, metavar="FILE", help="rows as JSON; made up from the signature otherwise"),
    _JSON,
)
def bench(as_json: bool, **options: Any) -> None:
    """Put load on a model of a running server, and report throughput and latencies."""
    from flowserve.shell.bench.command import Options
    from flowserve.shell.bench.command import bench as run

    run(Options(**options), as_json)


_MODEL = argument("model", metavar="MODEL", help="a name, NAME@VERSION or NAME/versions/VERSION")
_VERSION = argument("version", metavar="VERSION", type=int)


@app.command(_MODEL, _ADDRESS)
def load(model: str, http: str) -> None:
    """Have a running server load a model that is on disk, all of its versions unless one is named."""
    from flowserve.shell.processes.commands import load

    load(_address(http), model)


@app.command(_MODEL, _ADDRESS)
def unload(model: str, http: str) -> None:
    """Have a running server serve a model no longer, all of its versions unless one is named."""
    from flowserve.shell.processes.commands import unload

    unload(_address(http), model)


@app.command(
    argument("model", metavar="MODEL", help="a model's name"),
    argument("alias", metavar="ALIAS", help="as in `production`; `default` is what the name alone means"),
    argument("version", metavar="VERSION", type=int, nargs="?", default=0),
    argument("--remove", action="store_true", help="remove the alias"),
    _ADDRESS,
)
def alias(model: str, alias: str, version: int, remove: bool, http: str) -> None:
    """Let MODEL@ALIAS mean a version, in all processes of a running server at the same instant."""
    from flowserve.shell.processes.commands import point

    point(_address(http), model, alias, version, remove)


@app.command(
    argument("model", metavar="MODEL", help="a model's name"),
    _VERSION,
    argument("--alias", default="production", help="the alias that moves (default: production)"),
    _ADDRESS,
)
def deploy(model: str, version: int, alias: str, http: str) -> None:
    """Load a version, check it, and let the alias `production` name it; if it fails nothing changes."""
    from flowserve.shell.processes.commands import point

    point(_address(http), model, alias, version, remove=False)


_ALIAS = argument("--alias", default="production", help="the alias it is of (default: production)")
_SHARE = argument("--share", type=float, metavar="PERCENT", help="a single step, and then promotion")


@app.command(
    argument("model", metavar="MODEL", help="a model's name"),
    _VERSION,
    _ALIAS,
    _SHARE,
    argument("--steps", metavar="N,N,...", help="the candidate's share in percent (default: 1,5,25,100)"),
    argument("--step-time", type=float, dest="step_s", metavar="S", help="at the least, each (default: 60)"),
    argument("--min-requests", type=int, metavar="N", help="of the candidate in each step (default: 250)"),
    argument("--shadow", type=float, metavar="PERCENT", help="run on both, and compare (default: 0)"),
    argument("--max-error-rate", type=float, metavar="X", help="more than the stable version's (0.02)"),
    argument("--max-latency-ratio", type=float, metavar="X", help="of 99th percentiles (default: 1.5)"),
    argument("--max-disagreement", type=float, metavar="X", help="of rows in shadow (default: not judged)"),
    argument("--tolerance", type=float, metavar="X", help="that floats may be off by (default: 0.001)"),
    argument("--header", metavar="NAME", help="forces a side: `always`, `never` (default: X-Canary)"),
    argument("--key", metavar="NAME", help="header of what stays on a side (default: X-Routing-Key)"),
    argument("--manual", action="store_true", default=None, help="promote by hand only"),
    _ADDRESS,
    name="rollout start",
)
def start_rollout(model: str, version: int, alias: str, http: str, **settings: Any) -> None:
    """Give a version part of the requests for an alias, more step by step, and promote it or roll it back.

    flowserve rollout start iris 2
    flowserve rollout start iris 2 --steps 0,10,50 --shadow 100 --max-disagreement 0.01
    flowserve rollout start iris 2 --share 5 --manual
    """
    from flowserve.shell.processes.rollout_commands import start

    start(_address(http), model, version, alias, settings)


@app.command(
    argument("model", metavar="MODEL", nargs="?", default="", help="a model's name (default: all)"),
    _ADDRESS,
    _JSON,
    name="rollout status",
)
def rollout_status(model: str, http: str, as_json: bool) -> None:
    """Say how rollouts are going: what both versions did, and what is waited for."""
    from flowserve.shell.processes.rollout_commands import show

    show(_address(http), model, as_json)


@app.command(argument("model", metavar="MODEL"), _ALIAS, _ADDRESS, name="rollout promote")
def promote_rollout(model: str, alias: str, http: str) -> None:
    """End a rollout: the alias moves to the candidate now."""
    from flowserve.shell.processes.rollout_commands import finish

    finish(_address(http), model, alias, promote=True)


@app.command(argument("model", metavar="MODEL"), _ALIAS, _ADDRESS, name="rollout abort")
def abort_rollout(model: str, alias: str, http: str) -> None:
    """End a rollout: the alias stays, and the candidate gets nothing more."""
    from flowserve.shell.processes.rollout_commands import finish

    finish(_address(http), model, alias, promote=False)


@app.command(_ADDRESS, _JSON)
def status(http: str, as_json: bool) -> None:
    """Say how a running server is, and what happened to it last."""
    from flowserve.shell.processes.commands import show_status

    show_status(_address(http), as_json)


@app.command(_ADDRESS)
def stop(http: str) -> None:
    """End a running server once it has answered what was begun."""
    from flowserve.shell.processes.commands import stop

    stop(_address(http))


def _described(folder: ModelFolder) -> dict[str, Any]:
    labels = {output: list(names) for output, names in folder.labels.items()}
    return {"name": folder.name, "versions": list(folder.versions), "labels": labels}


def _address(text: str) -> Address:
    """Where a server's HTTP is, which is how its control socket is found."""
    from flowserve.shell.wire.client import parse_server

    return parse_server(text).address
