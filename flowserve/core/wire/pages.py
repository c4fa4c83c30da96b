"""Small pages to try models by hand, generated from their signatures. They load nothing from elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import quote

from flowserve.core.models.model import Model
from flowserve.core.models.signature import TensorSpec
from flowserve.core.models.table import Version
from flowserve.core.wire.openapi import example_of, takes_rows


def index_page(versions: Sequence[Version]) -> bytes:
    """A list of models, latest versions first, each with a link to its page."""
    newest = sorted(versions, key=lambda version: (version.key.name, -version.key.version))
    rows = "".join(map(_row, newest))
    table = f"<table><tr><th>model</th><th>version</th><th>takes and gives</th></tr>{rows}</table>"
    body = table if rows else "<p>There are no models.</p>"
    return _page("models", f'<h1>Models</h1>{body}<p><a href="/openapi.json">OpenAPI document</a></p>')


def model_page(model: Model) -> bytes:
    """A page with a form: the request as JSON, filled in with an example, and the answer below it."""
    text = _example(model)
    title = f"{model.name}, version {model.version}"
    parts = [
        f'<p><a href="/">all models</a></p><h1>{escape(model.name)}</h1><p>version {model.version}</p>',
        _described("Inputs", model.signature.inputs),
        _described("Outputs", model.signature.outputs),
        f'<h2>Try it</h2><label for="body">Request: <code>POST /predict/{escape(model.name)}</code></label>',
        f'<textarea id="body" spellcheck="false" rows="{text.count(chr(10)) + 4}">{escape(text)}</textarea>',
        '<p><button id="ask">Predict</button> <span id="took"></span></p>',
        '<div id="answer" aria-live="polite"></div>',
        f"<script>{_SCRIPT}</script>",
    ]
    return _page(title, "".join(parts))


def _row(version: Version) -> str:
    name, number, model = version.key.name, version.key.version, version.model
    takes = f"<code>{escape(str(model.signature))}</code>" if model else "loaded when it is asked for"
    return (
        f'<tr><td><a href="/predict/{quote(name, safe="")}/versions/{number}">{escape(name)}</a></td>'
        f"<td>{number}</td><td>{takes}</td></tr>"
    )


def _described(title: str, specs: Sequence[TensorSpec]) -> str:
    rows = "".join(
        f"<tr><td>{escape(spec.name)}</td><td>{spec.datatype.name}</td><td>{_shape(spec)}</td>"
        f"<td>{escape(', '.join(spec.labels[:20]))}</td></tr>"
        for spec in specs
    )
    heads = "<th>name</th><th>datatype</th><th>shape</th><th>labels</th>"
    return f"<h2>{title}</h2><table><tr>{heads}</tr>{rows}</table>"


def _shape(spec: TensorSpec) -> str:
    axes = spec.axes or ("",) * len(spec.shape)
    sizes = [str(size) if size >= 0 else axis or "any" for size, axis in zip(spec.shape, axes, strict=True)]
    return escape(" × ".join(sizes)) or "single value"


def _example(model: Model) -> str:
    inputs = model.signature.inputs
    if not takes_rows(model):
        columns = {spec.name: example_of(spec) for spec in inputs}
        return _written({"columns": columns})
    rows = max([1, *(spec.shape[0] for spec in inputs)])
    row: Any = {spec.name: example_of(spec, 1) for spec in inputs}
    if len(inputs) == 1:
        row = row[inputs[0].name]
    return _written({"rows": [row] * min(rows, 8)})


def _written(body: dict[str, Any]) -> str:
    """JSON with a line for each row or column."""
    ((kind, value),) = body.items()
    if isinstance(value, list):
        inner = ",\n    ".join(json.dumps(row, ensure_ascii=False) for row in value)
        return f'{{\n  "{kind}": [\n    {inner}\n  ]\n}}'
    pairs = (f"{json.dumps(name)}: {json.dumps(item, ensure_ascii=False)}" for name, item in value.items())
    inner = ",\n    ".join(pairs)
    return f'{{\n  "{kind}": {{\n    {inner}\n  }}\n}}'


def _page(title: str, body: str) -> bytes:
    policy = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    ).encode()


_STYLE = """
:root { color-scheme: light dark; --line: #8884; --accent: #2563eb; --wrong: #b91c1c; }
@media (prefers-color-scheme: dark) { :root { --accent: #7aa2ff; --wrong: #ff8a80; } }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0; }
main { max-width: 56rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; margin: .2rem 0; } h2 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; }
th, td { border-bottom: 1px solid var(--line); }
th { font-weight: 600; } code, textarea, pre { font: 13px/1.5 ui-monospace, monospace; }
textarea { width: 100%; box-sizing: border-box; padding: .6rem; }
textarea { border: 1px solid var(--line); border-radius: 6px; }
button { font: inherit; padding: .4rem 1.2rem; border: 0; border-radius: 6px; background: var(--accent);
  color: Canvas; cursor: pointer; }
a { color: var(--accent); } .wrong { color: var(--wrong); white-space: pre-wrap; }
"""
_SCRIPT = """
const at = id => document.getElementById(id);
function cell(row, text, tag = 'td') {
  const it = document.createElement(tag); it.textContent = text; row.append(it);
}
function written(value) {
  if (typeof value === 'number') return String(Number(value.toPrecision(6)));
  if (value === null || typeof value !== 'object') return String(value);
  if (Array.isArray(value)) return '[' + value.map(written).join(', ') + ']';
  return Object.entries(value).map(([name, it]) => name + ': ' + written(it)).join(', ');
}
function show(answer) {
  const rows = answer.predictions || [answer.outputs], table = document.createElement('table');
  const names = Object.keys(rows[0] || {}), head = table.insertRow();
  names.forEach(name => cell(head, name, 'th'));
  rows.forEach(row => {
    const line = table.insertRow();
    names.forEach(name => cell(line, written(row[name])));
  });
  at('answer').replaceChildren(table);
}
async function ask() {
  const began = performance.now();
  let answer;
  try {
    const response = await fetch(location.pathname, {method: 'POST', body: at('body').value});
    answer = await response.json();
  } catch (error) { answer = {error: 'the server does not answer: ' + error.message}; }
  at('took').textContent = Math.round(performance.now() - began) + ' ms';
  if (!('error' in answer)) return show(answer);
  const wrong = document.createElement('p');
  wrong.className = 'wrong'; wrong.textContent = answer.error; at('answer').replaceChildren(wrong);
}
at('ask').addEventListener('click', ask);
at('body').addEventListener('keydown', event => { if (event.key === 'Enter' && event.ctrlKey) ask(); });
"""
