"""The `flowserve` command. Whatever is heavy is imported by the command that needs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowc.plan.command import App, argument

if TYPE_CHECKING:
    from flowserve.shell.models.repository import ModelFolder

app = App("flowserve", "Serve predictions of ONNX models over HTTP.")

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
    _MODELS,
    _ADDRESS,
    argument("--grpc", default="", metavar="ADDRESS", help="answer gRPC too, at this address"),
    argument("--tls-cert", type=Path, metavar="FILE", help="the server's certificate chain, as PEM"),
    argument("--tls-key", type=Path, metavar="FILE", help="the certificate's key, as PEM"),
    argument(
        "--tokens", type=Path, metavar="FILE", help="who may ask: a token a line (or $FLOWSERVE_TOKENS)"
    ),
    argument("--trust-network", action="store_true", help="let other hosts ask without TLS and tokens"),
)
def start(
    models: Path,
    http: str,
    grpc: str,
    tls_cert: Path | None,
    tls_key: Path | None,
    tokens: Path | None,
    trust_network: bool,
) -> None:
    """Serve every model of a repository until SIGTERM or Ctrl-C. Port 0 takes a free one."""
    from flowserve.core.wire.addresses import parse_address

    http_address = parse_address(http, "FS104")
    grpc_address = parse_address(grpc, "FS104") if grpc else None

    import asyncio
    import functools
    import os
    from importlib.metadata import version

    import uvloop

    from flowserve.shell.models.repository import scan
    from flowserve.shell.models.sessions import load_all
    from flowserve.shell.wire.http import serve
    from flowserve.shell.wire.listening import reserve, url_of
    from flowserve.shell.wire.security import check_reach, read_security

    security = read_security(tls_cert, tls_key, tokens, os.environ)
    folders = scan(models)
    listener = reserve(http_address)
    check_reach(listener, security, trust_network)
    beside, lines = [], [f"listening on {url_of(listener, 'http', security.tls is not None)}"]
    if grpc_address is not None:
        listen = _grpc_listen()
        reserved = reserve(grpc_address, "--grpc")
        check_reach(reserved, security, trust_network)
        beside.append(functools.partial(listen, reserved=reserved))
        lines.insert(0, f"listening on {url_of(reserved, 'grpc', security.tls is not None)}")
    registry = load_all(folders)

    def announce() -> None:
        for model in registry:
            print(f"{model.name}  version {model.version}  {model.signature}")
        print("\n".join(lines), flush=True)

    serving = serve(
        registry,
        listener,
        version("flow-toolchain"),
        on_listening=announce,
        beside=beside,
        security=security,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        finished = runner.run(serving)
    if not finished:
        print("stopped before every request was answered", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(1)  # a model that still runs would keep the process


@app.command(
    argument("model", metavar="MODEL", help="a name, or NAME/versions/VERSION"),
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
            print("  ".join(f"{name}={json.dumps(value)}" for name, value in row.items()))


@app.command(_MODELS, _JSON, name="models")
def list_models(models: Path, as_json: bool) -> None:
    """List the models and versions of a repository on disk."""
    import json

    from flowc.plan.text import columns
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


def _grpc_listen() -> Any:
    try:
        from flowserve.shell.wire.grpc import listen
    except ModuleNotFoundError as missing:
        from flowc.plan.diagnostics import refuse

        hint = "`pip install 'flow-toolchain[grpc]'` installs it"
        refuse("FS250", f"`--grpc` needs the extra `grpc`: there is no module `{missing.name}`", hint=hint)
    return listen


def _described(folder: ModelFolder) -> dict[str, Any]:
    labels = {output: list(names) for output, names in folder.labels.items()}
    return {"name": folder.name, "versions": list(folder.versions), "labels": labels}
