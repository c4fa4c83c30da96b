"""The pages of `docs/errors` as tests: what a page shows is done in an empty folder, the answers compared.

A page is Markdown in which three kinds of fenced block have a meaning, in order:

    ```python flow.py        a language and a file's name: the file is written, over an earlier one
    ```console               `$ command` lines (`> ` continues one), each followed by all that it prints
    ```http                  a request, then `HTTP status` and the answer's JSON

In an answer a line `...` stands for any lines, and `...` within a line for any text. A command is run by
bash, with nothing of the user's environment but the path to the commands under test. Where a page says
`127.0.0.1:8000`, a prediction server with the models of `publish_examples` listens; the pages of FS codes
find those models in `models`, too.

    python tests/error_pages.py --update [CODE ...]     write what is answered now into the pages, for review
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGES = Path(__file__).parent.parent / "docs" / "errors"
PAGE_ADDRESS = "127.0.0.1:8000"

_FENCE = re.compile(r"^```(\w+)(?: (\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_COMMAND = re.compile(r"(?:^\$ .*\n(?:^> .*\n)*)", re.MULTILINE)
_HEAD = re.compile(r".*\n(?:[\w-]+: .*\n)*")  # of a request: method and target, then headers if any
_STATUS = re.compile(r"^HTTP \d+\n", re.MULTILINE)
_TIMEOUT_S = 60
# What differs from run to run, as `--update` writes it.
_VARYING = [
    (re.compile(r" *\d+\.\d\d s\b"), "... s"),
    (re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d"), "..."),
    (re.compile(r"\bon \d+(\.\d+)? CPUs?, .*"), "on ..."),
]


@dataclass(frozen=True)
class Exchange:
    """Something that a page asks, the answer that it shows and the answer that came. `line` counts from 1."""

    line: int
    asked: str
    expected: str
    answered: str
    succeeded: bool

    @property
    def fits(self) -> bool:
        """Whether the answer is the one that the page shows."""
        return _pattern(self.expected).fullmatch(self.answered) is not None


@dataclass
class Page:
    """A page, done in a folder."""

    text: str
    folder: Path
    address: str = ""
    exchanges: list[Exchange] = field(default_factory=list)

    def perform(self) -> str:
        """Do all that the page shows; return the page with the answers that came where others stood."""
        self.exchanges.clear()
        with contextlib.ExitStack() as leftovers:
            return _FENCE.sub(lambda block: self._block(block, leftovers), self.text)

    def _block(self, block: re.Match[str], leftovers: contextlib.ExitStack) -> str:
        language, name, text = block.groups()
        if language == "console":
            exchanges = list(self._console(text, _line(self.text, block.start(3)), leftovers))
        elif language == "http":
            exchanges = [self._http(text, _line(self.text, block.start(3)))]
        else:
            if name:
                path = self.folder / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            return block.group()
        self.exchanges += exchanges
        return f"```{language}\n{''.join(_written(e, self.folder) for e in exchanges)}```"

    def _console(self, text: str, line: int, leftovers: contextlib.ExitStack) -> Iterator[Exchange]:
        found = list(_COMMAND.finditer(text))
        ends = [command.start() for command in found[1:]] + [len(text)]
        for command, end in zip(found, ends, strict=True):
            script = "\n".join(part[2:] for part in command.group().splitlines())
            answer, status = self._run(script, leftovers)
            at = line + _line(text, command.start()) - 1
            yield Exchange(at, command.group(), _tidy(text[command.end() : end]), answer, status == 0)

    def _run(self, script: str, leftovers: contextlib.ExitStack) -> tuple[str, int]:
        script = script.replace(PAGE_ADDRESS, self.address or PAGE_ADDRESS)
        with (
            tempfile.TemporaryFile() as output
        ):  # not a pipe: a command may leave a process in the background
            process = subprocess.Popen(
                ["bash", "-c", script],
                cwd=self.folder,
                env=_environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            leftovers.callback(_end, process.pid)
            try:
                status = process.wait(_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                status = -1
                _end(process.pid)
                process.wait()
            output.seek(0)
            text = output.read().decode(errors="replace")
        if self.address:
            text = text.replace(self.address, PAGE_ADDRESS)
        return _tidy(text), status

    def _http(self, text: str, line: int) -> Exchange:
        split = _STATUS.search(text)
        assert split, f"line {line}: no `HTTP status` line after the request"
        asked, expected = text[: split.start()], text[split.start() :]
        head = _HEAD.match(asked)
        assert head, f"line {line}: no request"
        (method, target), *headers = (part.split(maxsplit=1) for part in head.group().splitlines())
        body = asked[head.end() :].strip().encode()
        host, _, port = self.address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=_TIMEOUT_S)
        with contextlib.closing(connection):
            connection.putrequest(method, target)
            for name, value in headers:
                connection.putheader(name.removesuffix(":"), value)
            if not headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders(body)
            response = connection.getresponse()
            content = response.read()
        shown = json.dumps(json.loads(content), ensure_ascii=False) if content else ""
        answered = _tidy(f"HTTP {response.status}\n{shown}")
        return Exchange(line, asked, _tidy(expected), answered, response.status < 400)


def title(text: str) -> str:
    """The first line of a page."""
    return text.partition("\n")[0]


def publish_examples(repository: Path) -> None:
    """Make the models that the FS pages ask: `iris`, which has labels, and `lookup`, which can fail."""
    import numpy as np
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from flowserve.shell.models.repository import publish

    def model(nodes: list[onnx.NodeProto], inputs: list, outputs: list, weights: dict) -> bytes:
        initial = [numpy_helper.from_array(array, name) for name, array in weights.items()]
        graph = helper.make_graph(nodes, "example", inputs, outputs, initial)
        opsets = [helper.make_opsetid("", 17)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()

    tensor = helper.make_tensor_value_info
    weights = np.array([[1, 0, -1], [1, 0, -1], [-2, 1, 1], [-2, 0, 2]], np.float32)
    iris = model(
        [
            helper.make_node("MatMul", ["x", "w"], ["z"]),
            helper.make_node("Softmax", ["z"], ["probabilities"]),
        ],
        [tensor("x", TensorProto.FLOAT, ["rows", 4])],
        [tensor("probabilities", TensorProto.FLOAT, ["rows", 3])],
        {"w": weights},
    )
    lookup = model(
        [helper.make_node("Gather", ["table", "index"], ["price"])],
        [tensor("index", TensorProto.INT64, ["rows"])],
        [tensor("price", TensorProto.FLOAT, ["rows"])],
        {"table": np.array([0.5, 1.5, 2.5], np.float32)},
    )
    publish(repository, "iris", iris, ["setosa", "versicolor", "virginica"])
    publish(repository, "lookup", lookup)


@contextlib.contextmanager
def serving(models: Path) -> Iterator[str]:
    """A prediction server with the example models; its address."""
    publish_examples(models)
    command = [_bin() / "flowserve", "start", "--models", models, "--http", "127.0.0.1:0"]
    # Pages ask the server's control socket where they look for it: with nothing of the user's environment.
    environment = {name: value for name, value in os.environ.items() if name != "XDG_RUNTIME_DIR"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    hurry = threading.Timer(_TIMEOUT_S, process.kill)
    hurry.start()
    try:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")  # ends when the server does
        listening = next((line for line in lines if "listening on http://" in line), "")
        hurry.cancel()
        assert listening, "the server did not start"
        yield listening.rpartition("http://")[2].strip()
    finally:
        hurry.cancel()
        process.terminate()
        try:
            process.wait(_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _pattern(expected: str) -> re.Pattern[str]:
    lines = []
    for line in expected.splitlines():
        if line.strip() == "...":
            lines.append(r"(?:.*\n)*?")
        else:
            lines.append(".*?".join(map(re.escape, line.split("..."))) + r"\n")
    return re.compile("".join(lines))


def _tidy(text: str) -> str:
    """Without spaces at the ends of lines, nor blank lines at the end."""
    lines = [line.rstrip() for line in text.rstrip().splitlines()]
    return "".join(f"{line}\n" for line in lines)


def _written(exchange: Exchange, folder: Path) -> str:
    """An exchange as the page has it if it fits; else with the answer that came, and `...` where it was."""
    if exchange.fits:
        return exchange.asked + exchange.expected
    old, new = exchange.expected.splitlines(), exchange.answered.splitlines()
    lines = []
    if old[:1] == ["..."]:  # stands for all before the diagnostic
        start = next((i for i, line in enumerate(new) if line.startswith("error[")), 0)
        lines, new = ["..."], new[start:]
    for line in new:
        kept = next((o for o in old if o != "..." and _pattern(o).fullmatch(f"{line}\n")), None)
        line = line.replace(str(folder), "...")
        for varying, placeholder in _VARYING:
            line = varying.sub(placeholder, line)
        lines.append(kept or re.sub(r"\.{4,}", "...", line))
    return exchange.asked + "".join(f"{line}\n" for line in lines)


def _environment(folder: Path) -> dict[str, str]:
    return {
        "PATH": f"{_bin()}:/usr/local/bin:/usr/bin:/bin",
        "HOME": str(folder / ".home"),
        "FLOW_LEASES": str(folder / ".leases"),  # pages are tried side by side
        "LC_ALL": "C.UTF-8",
        "NO_COLOR": "1",
        "TERM": "dumb",
        "COLUMNS": "100",
        "PYTHONDONTWRITEBYTECODE": "1",  # a page writes a file twice within the clock tick that .pyc go by
    }


def _bin() -> Path:
    return Path(sys.executable).parent


def _end(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)


def _line(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def main() -> None:
    """Rewrite pages."""
    parser = argparse.ArgumentParser(description="Write what is answered now into the pages of docs/errors.")
    parser.add_argument("--update", nargs="*", metavar="CODE", required=True, help="the pages; all if none")
    codes = parser.parse_args().update or sorted(page.stem for page in PAGES.glob("F*.md"))
    with contextlib.ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        address = ""
        for code in codes:
            file = PAGES / f"{code.upper()}.md"
            text = file.read_text(encoding="utf-8")
            if code.startswith("FS") and not address:
                address = stack.enter_context(serving(base / "models"))
            folder = base / code
            prepare(folder, code, base / "models")
            page = Page(text, folder, address)
            rewritten = page.perform()
            if rewritten != text:
                file.write_text(rewritten, encoding="utf-8")
                print(f"{code}: rewritten")


def prepare(folder: Path, code: str, models: Path) -> None:
    """Make the folder that a page is done in."""
    (folder / ".home").mkdir(parents=True)
    if code.startswith("FS"):
        shutil.copytree(models, folder / "models")


if __name__ == "__main__":
    main()
