"""From a Python workflow to a served prediction: the real commands, and a client that we did not write."""

import json
import re
import subprocess
from contextlib import contextmanager

import numpy as np
import onnxruntime
import pytest
from sklearn.datasets import load_digits, load_iris
from tritonclient import http


def command(*words, folder):
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def execute(workflow, folder, *inputs):
    """Compile and execute a ready workflow; the report of its run."""
    command("flowc", "compile", f"stdlib.workflows.{workflow}:{workflow}", folder=folder)
    arguments = [word for text in inputs for word in ("-i", text)]
    output = command(
        "flowrun", "execute", f"plans/{workflow}.plan.jsonl", "--json", *arguments, folder=folder
    )
    return json.loads(output.splitlines()[-1])["summary"]


@contextmanager
def client_of(models):
    """A tritonclient of a server that serves a repository."""
    start = ["flowserve", "start", "--models", str(models), "--http", "127.0.0.1:0"]
    with subprocess.Popen(start, stdout=subprocess.PIPE, text=True) as server:
        try:
            address = next(found[1] for line in server.stdout if (found := re.search(r"http://(\S+)", line)))
            with http.InferenceServerClient(address) as client:
                yield client
        finally:
            server.terminate()


def ask(client, model, rows, binary):
    tensor = http.InferInput("input", list(rows.shape), "FP32")
    tensor.set_data_from_numpy(rows, binary_data=binary)
    outputs = [http.InferRequestedOutput(name, binary_data=binary) for name in ("label", "probabilities")]
    answer = client.infer(model, [tensor], outputs=outputs)
    return answer.as_numpy("label"), answer.as_numpy("probabilities")


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    folder = tmp_path_factory.mktemp("iris")
    return folder, execute("iris", folder, "epochs=50")


def test_all_iris_rows_are_served_as_onnxruntime_computes_them(iris):
    folder, report = iris
    assert report["status"] == "succeeded"
    assert report["result"] == {"name": "iris", "version": 1, "path": "models/iris/1"}
    data = load_iris()
    rows = data.data.astype(np.float32)
    session = onnxruntime.InferenceSession(folder / "models" / "iris" / "1" / "model.onnx")
    labels, probabilities = session.run(["label", "probabilities"], {"input": rows})
    with client_of(folder / "models") as client:
        for binary in (True, False):
            served_labels, served_probabilities = ask(client, "iris", rows, binary)
            assert np.array_equal(served_labels, labels)
            np.testing.assert_allclose(served_probabilities, probabilities, rtol=1e-6)
        one_by_one = [ask(client, "iris", row[None], binary=True)[0][0] for row in rows]
    assert np.array_equal(one_by_one, labels)
    assert np.mean(labels == data.target) >= 0.95


def test_a_model_that_did_not_change_gets_no_new_version(iris):
    folder, _ = iris
    again = execute("iris", folder, "epochs=50")
    assert again["result"]["version"] == 1


def test_digits_are_trained_compared_and_served(tmp_path):
    report = execute("digits", tmp_path)
    ranking = report["result"]["leaderboard"]
    assert [line["rank"] for line in ranking] == [1, 2, 3, 4, 5, 6]
    assert ranking[0]["accuracy"] >= 0.97
    data = load_digits()
    rows = (data.data / 16).astype(np.float32)
    with client_of(tmp_path / "models") as client:
        labels, _ = ask(client, "digits", rows, binary=True)
    assert np.mean(labels == data.target) >= 0.98
