"""Asks a running server over HTTP, for the command line."""

from __future__ import annotations

import http.client
import re
import socket
import ssl
from typing import Any, NoReturn, assert_never
from urllib.parse import quote

import msgspec

from flowc.plan.codes import CODES
from flowc.plan.diagnostics import refuse
from flowserve.core.wire.addresses import Address, Tcp, Unix, parse_address
from flowserve.core.wording import cut, listed, shown

_TIMEOUT_S = 60.0
_ERROR = re.compile(r"\[(FS\d+)\] (.*)", re.DOTALL)


class Prediction(msgspec.Struct, frozen=True):
    """What a server answered: for every row the label and its probability, or the outputs by name."""

    labelled: bool
    rows: list[dict[str, Any]]


class Server(msgspec.Struct, frozen=True):
    """Where a server is asked."""

    address: Address
    tls: bool = False

    def __str__(self) -> str:
        """As in `http://127.0.0.1:8000`."""
        plain = isinstance(self.address, Unix)
        return str(self.address) if plain else f"http{'s' if self.tls else ''}://{self.address}"


def parse_server(text: str) -> Server:
    """Read HOST:PORT, unix:PATH, or HOST:PORT after `http://` or `https://`. Raises `Refused` FS301."""
    secure = text.startswith("https://")
    bare = text.removeprefix("https://" if secure else "http://").rstrip("/")
    return Server(parse_address(bare, "FS301"), secure)


class Client:
    """Asks one server, with a bearer token if there is one."""

    def __init__(self, server: Server, token: str = "") -> None:
        self._server = server
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}

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

    def metadata(self, model: str) -> dict[str, Any]:
        """What a model takes and gives. Raises `Refused` FS301, and with what the server refuses."""
        found: dict[str, Any] = self._ask("GET", f"/v2/models/{quote(model)}")
        return found

    def statistics(self, model: str) -> list[dict[str, Any]]:
        """What the server has counted of a model, by version; it raises as `metadata` does."""
        found: list[dict[str, Any]] = self._ask("GET", f"/v2/models/{quote(model)}/stats")["model_stats"]
        return found

    def _ask(self, method: str, path: str, body: bytes | None = None) -> Any:
        server = self._server
        connection = _connection(server)
        try:
            connection.request(method, path, body, self._headers)
            response = connection.getresponse()
            answer = msgspec.json.decode(response.read())
        except OSError as error:
            _no_answer(server, error)
        except (http.client.HTTPException, ValueError):
            refuse("FS301", f"what answers at `{server}` is not a prediction server")
        finally:
            connection.close()
        if response.status != 200:
            _refuse_as(answer, response.status, str(server))
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


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_TIMEOUT_S)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(_TIMEOUT_S)
        self.sock.connect(self._path)


def _connection(server: Server) -> http.client.HTTPConnection:
    match server.address:
        case Unix(path):
            return _UnixConnection(path)
        case Tcp(host, port) if server.tls:
            return http.client.HTTPSConnection(host, port, timeout=_TIMEOUT_S)
        case Tcp(host, port):
            return http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        case _:
            assert_never(server.address)


def _no_answer(server: Server, error: OSError) -> NoReturn:
    reason = (error.strerror or str(error)).lower()
    hint = ""
    match error:
        case ConnectionRefusedError():
            hint = f"`flowserve start --models DIR --http {server.address}` starts one"
        case ssl.SSLCertVerificationError():
            told = f"the certificate of `{server}` cannot be trusted: {error.verify_message}"
            refuse("FS301", told, hint="the variable SSL_CERT_FILE can name a file of authorities to trust")
        case ssl.SSLError():
            reason, hint = "it does not speak TLS", f"without TLS it is `http://{server.address}`"
        case http.client.RemoteDisconnected() if not server.tls and isinstance(server.address, Tcp):
            hint = f"where it has TLS, it is `https://{server.address}`"
        case _:
            pass
    refuse("FS301", f"no server answers at `{server}`: {reason}", hint=hint)


def _refuse_as(answer: Any, status: int, server: str) -> None:
    """Show the server's own refusal as if it had been made here."""
    text = str(answer.get("error", "")) if isinstance(answer, dict) else ""
    found = _ERROR.match(text)
    if found and found[1] in CODES:
        refuse(found[1], found[2])
    refuse("FS301", f"the server at `{server}` answered {status}: {text or 'without a reason'}")


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
