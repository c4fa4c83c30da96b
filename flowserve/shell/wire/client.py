"""Asks a running server over HTTP, for the command line."""

from __future__ import annotations

import http.client
import re
from typing import Any
from urllib.parse import quote

import msgspec

from flowc.plan.codes import CODES
from flowc.plan.diagnostics import refuse
from flowserve.core.wording import cut, listed, shown

_TIMEOUT_S = 60.0
_ERROR = re.compile(r"\[(FS\d+)\] (.*)", re.DOTALL)


class Prediction(msgspec.Struct, frozen=True):
    """What a server answered: for every row the label and its probability, or the outputs by name."""

    labelled: bool
    rows: list[dict[str, Any]]


class Client:
    """One server, at `host:port`."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self._port = port

    def predict(self, model: str, rows: list[Any]) -> Prediction:
        """Ask `model`, a name or `NAME/versions/VERSION`, for a prediction of every row.

        A model with labels is asked for its best class. Raises `Refused` FS301 when the server does not
        answer, FS302 for rows that make no tensor or a model of several inputs, and with what the server
        refuses.
        """
        path = f"/v2/models/{quote(model)}"
        metadata = self._ask("GET", path)
        inputs = metadata["inputs"]
        if len(inputs) != 1:
            names = listed([tensor["name"] for tensor in inputs])
            refuse("FS302", f"rows fit a model of one input, but `{cut(model)}` takes {names}")
        config = self._ask("GET", f"{path}/config")
        labelled = next((o["name"] for o in config["output"] if o.get("label_filename")), "")
        request = {
            "inputs": [inputs[0] | {"shape": _shape(rows), "data": rows}],
            "outputs": [{"name": labelled, "parameters": {"classification": 1}}] if labelled else [],
        }
        outputs = self._ask("POST", f"{path}/infer", msgspec.json.encode(request))["outputs"]
        return Prediction(bool(labelled), _by_row(outputs, len(rows), bool(labelled)))

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        address = f"{self._host}:{self._port}"
        connection = http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
        try:
            connection.request(method, path, body)
            response = connection.getresponse()
            answer = msgspec.json.decode(response.read())
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            refused = isinstance(error, ConnectionRefusedError)
            hint = f"`flowserve start --models DIR --http {address}` starts one" if refused else ""
            refuse("FS301", f"no server answers at `http://{address}`: {reason}", hint=hint)
        except (http.client.HTTPException, ValueError):
            refuse("FS301", f"what answers at `http://{address}` is not a prediction server")
        finally:
            connection.close()
        if response.status != 200:
            _refuse_as(answer, response.status, address)
        return answer


def parse_rows(text: str) -> list[Any]:
    """Read rows as the command line gives them. Raises `Refused` FS302."""
    example = "as in '[[5.1, 3.5, 1.4, 0.2]]'"
    try:
        rows = msgspec.json.decode(text)
    except (ValueError, RecursionError) as error:
        refuse("FS302", f"the rows must be a JSON array, {example}: {error}")
    if not isinstance(rows, list) or not rows:
        came = "an empty one" if rows == [] else shown(rows)
        refuse("FS302", f"the rows must be a JSON array, {example}, got {came}")
    return rows


def _refuse_as(answer: Any, status: int, address: str) -> None:
    """Show the server's own refusal as if it had been made here."""
    text = str(answer.get("error", "")) if isinstance(answer, dict) else ""
    found = _ERROR.match(text)
    if found and found[1] in CODES:
        refuse(found[1], found[2])
    refuse("FS301", f"the server at `http://{address}` answered {status}: {text or 'without a reason'}")


def _shape(rows: Any) -> list[int]:
    """The shape of nested lists. Raises `Refused` FS302 where rows differ."""
    if not isinstance(rows, list):
        return []
    shapes = [_shape(row) for row in rows]
    for index, shape in enumerate(shapes):
        if shape != shapes[0]:
            refuse(
                "FS302", f"rows must be alike, but one of {shape} stands at {index}, after one of {shapes[0]}"
            )
    return [len(rows), *(shapes[0] if shapes else [])]


def _by_row(outputs: list[dict[str, Any]], count: int, labelled: bool) -> list[dict[str, Any]]:
    if not all(output["shape"][:1] == [count] for output in outputs):
        return [{output["name"]: output["data"] for output in outputs}]
    if labelled:
        return [_best(entry) for entry in outputs[0]["data"]]
    rows: list[dict[str, Any]] = [{} for _ in range(count)]
    for output in outputs:
        width = len(output["data"]) // count
        for index, row in enumerate(rows):
            values = output["data"][index * width : (index + 1) * width]
            row[output["name"]] = values if len(output["shape"]) > 1 else values[0]
    return rows


def _best(entry: str) -> dict[str, Any]:
    """`score:index:label`; an index beyond the labels has none."""
    score, index, *label = entry.split(":", 2)
    return {"label": label[0] if label else f"class {index}", "probability": float(score)}
