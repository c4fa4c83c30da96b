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
    metavar="HOST:PORT",
    help=f"the server's address (default: {_DEFAULT_ADDRESS})",
)
_JSON = argument("--json", dest="as_json", action="store_true", help="print JSON for machines")


def main() -> None:
    """Entry point."""
    app()


_NO_BATCHING = argument("--no-batching", action="store_true", help="run every request by itself")


@app.command(_MODELS, _ADDRESS, _NO_BATCHING)
def start(models: Path, http: str, no_batching: bool) -> None:
    """Serve every model of a repository until SIGTERM or Ctrl-C. Port 0 takes a free one."""
    host, port = _address(http, "FS104")

    import asyncio
    import os
    from importlib.metadata import version

    import uvloop

    from flowserve.shell.engine.engine import Settings
    from flowserve.shell.models.repository import scan
    from flowserve.shell.models.sessions import load_all
    from flowserve.shell.wire.http import bind, serve

    folders = scan(models)
    listener = bind(host, port)
    registry = load_all(folders)

    def announce() -> None:
        for model in registry:
            print(f"{model.name}  version {model.version}  {model.signature}")
        print(f"listening on http://{_written(host, listener.getsockname()[1])}", flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        finished = runner.run(
            serve(
                registry,
                listener,
                version("flow-toolchain"),
                on_listening=announce,
                settings=Settings(batching=not no_batching),
            )
        )
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

    from flowserve.shell.wire.client import Client, parse_rows

    host, port = _address(http, "FS301")
    prediction = Client(host, port).predict(model, parse_rows(rows))
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


def _described(folder: ModelFolder) -> dict[str, Any]:
    labels = {output: list(names) for output, names in folder.labels.items()}
    return {"name": folder.name, "versions": list(folder.versions), "labels": labels}


def _address(text: str, code: str) -> tuple[str, int]:
    """Split HOST:PORT; an IPv6 host stands in brackets."""
    from flowc.plan.diagnostics import refuse

    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isascii() or not port.isdigit() or int(port[:6]) > 65535:
        refuse(code, f"the address must be HOST:PORT, as in `{_DEFAULT_ADDRESS}`, got `{text}`")
    return host, int(port)


def _written(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
