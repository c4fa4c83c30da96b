"""From a Python workflow to predictions over HTTP. `make demo` runs it; everything shown is real."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Compile, execute, serve, predict."""
    os.chdir(HERE)
    say("Compile the workflow to a plan, and look at it")
    run("flowc", "compile", "stdlib.workflows.iris:iris")
    run("flowc", "show", "plans/iris.plan.jsonl")
    say("Execute the plan: train two models, publish the better one")
    run("flowrun", "execute", "plans/iris.plan.jsonl", "-i", "epochs=50")
    say("Serve it")
    with serving("models") as address:
        say("Ask for two predictions, as a person")
        run("flowserve", "predict", "iris", "[[5.1, 3.5, 1.4, 0.2], [6.7, 3.0, 5.2, 2.3]]", "--http", address)
        say("Ask for all 150, as a program: NVIDIA's tritonclient, unchanged")
        predict_all(address)
    say("Look at the run again, any time")
    run("flowrun", "runs")


def say(what: str) -> None:
    """Print a heading."""
    print(f"\n\033[1m# {what}\033[0m" if sys.stdout.isatty() else f"\n# {what}", flush=True)


def run(*command: str) -> None:
    """Show a command and run it."""
    shown = " ".join(f"'{word}'" if re.search(r"[\s\[]", word) else word for word in command)
    print(f"$ {shown}", flush=True)
    status = subprocess.run(command, check=False).returncode
    if status:
        sys.exit(f"`{shown}` ended with exit status {status}")


@contextmanager
def serving(models: str) -> Iterator[str]:
    """A server on a free port; its address."""
    command = ["flowserve", "start", "--models", models, "--http", "127.0.0.1:0"]
    print(f"$ {' '.join(command)} &", flush=True)
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            for line in server.stdout:
                print(line, end="", flush=True)
                if found := re.search(r"listening on http://(\S+)", line):
                    yield found[1]
                    return
            sys.exit("the server ended before it listened")
        finally:
            server.terminate()


def predict_all(address: str) -> None:
    """Predict every row of the iris data, and compare with the labels that botanists gave."""
    import numpy as np
    from sklearn.datasets import load_iris
    from tritonclient import http

    iris = load_iris()
    rows = http.InferInput("input", [150, 4], "FP32")
    rows.set_data_from_numpy(iris.data.astype(np.float32))
    with http.InferenceServerClient(address) as client:
        labels = client.infer("iris", [rows]).as_numpy("label")
    print(f"{np.sum(labels == iris.target)} of 150 are what the botanists said")


if __name__ == "__main__":
    main()
