"""A server as people run it, for the tests that need one: real processes, real sockets."""

import contextlib
import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from onnx_models import serialised

FLOWSERVE = str(Path(sys.executable).parent / "flowserve")
PATIENCE_S = 30


def scaling(scale: float, padding_mb: int = 0) -> bytes:
    """`y = scale * x`, with weights that nobody needs."""
    padding = [("padding", np.zeros(padding_mb * 2**18, np.float32))] if padding_mb else []
    x, y = ((name, TensorProto.FLOAT, ["n"]) for name in "xy")
    scale_node = helper.make_node("Mul", ["x", "scale"], ["y"])
    return serialised([scale_node], [x], [y], [("scale", np.float32(scale)), *padding])


class Server:
    """A running `flowserve start` on a free port."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder = folder
        # A socket's path may have 107 bytes; those that pytest makes may be longer.
        self.runtime = tempfile.TemporaryDirectory(prefix="flow-")
        self.env = {**os.environ, "XDG_RUNTIME_DIR": self.runtime.name}
        # One process, and so half the work of starting, unless a test is about how many there are.
        single = () if "--processes" in options else ("--processes", "1")
        command = [FLOWSERVE, "start", "--http", "127.0.0.1:0", *single, *options]
        self.log = open(folder / "log", "w+")  # noqa: SIM115 - closed with the server
        self.process = subprocess.Popen(
            command, cwd=folder, env=self.env, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        for line in self.process.stdout:
            if found := re.search(r"grpc://(\S+)", line):
                self.grpc = found[1]
            if found := re.search(r"http://\S+:(\d+)", line):
                self.port = int(found[1])
            if "listening on http" in line:
                break
        else:
            raise AssertionError(self.said())
        if "--processes" in options and (places := int(options[options.index("--processes") + 1])):
            until(lambda: len(self.status()["processes"]) == places)  # the first answers already

    def said(self) -> str:
        self.log.seek(0)
        return self.log.read()

    def command(self, *words: str, address: str = "") -> subprocess.CompletedProcess:
        command = [FLOWSERVE, *words, "--http", address or f"127.0.0.1:{self.port}"]
        return subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, timeout=60
        )

    def status(self) -> dict:
        return json.loads(self.command("status", "--json").stdout)

    def predict(self, model: str = "m", connection=None) -> float | str:
        """What the model makes of 1, or the refusal."""
        mine = connection or http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        body = json.dumps({"inputs": [{"name": "x", "datatype": "FP32", "shape": [1], "data": [1]}]})
        try:
            mine.request("POST", f"/v2/models/{model}/infer", body)
            answer = json.loads(mine.getresponse().read())
        finally:
            if connection is None:
                mine.close()
        return answer["error"] if "error" in answer else answer["outputs"][0]["data"][0]

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        mine = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)
        with contextlib.closing(mine):
            mine.request(method, path, None if body is None else json.dumps(body))
            response = mine.getresponse()
            return response.status, response.read()

    def end(self) -> int:
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@contextlib.contextmanager
def serving(folder: Path, *options: str, kind: type[Server] = Server):
    server = kind(folder, *options)
    try:
        yield server
    finally:
        if server.process.poll() is None:
            server.process.terminate()
            server.process.wait(PATIENCE_S)
        server.process.stdout.close()
        server.log.close()
        server.runtime.cleanup()


def until(what, *arguments):
    """Wait until it is so; a bound for the test, not a measure."""
    end = time.monotonic() + PATIENCE_S
    while not (found := what(*arguments)):
        assert time.monotonic() < end, "it never became so"
        time.sleep(0.05)
    return found
