"""Artifacts that are damaged while a run goes on, and after: found, and made again."""

import os

import pytest
from project import Project

FLOW = """
import numpy as np
from flowc import Array

@operator
def load(n: int) -> Array:
    note("load")
    return np.arange(n)

@operator
def strike(store: str, data: Array) -> str:
    note("strike")
    for folder, _, names in os.walk(store):
        for name in names:
            path = os.path.join(folder, name)
            if not name.startswith("."):
                os.chmod(path, 0o644)
                with open(path, "r+b") as file:
                    file.seek(-1, 2)
                    byte = file.read(1)
                    file.seek(-1, 2)
                    file.write(bytes([byte[0] ^ 1]))
    return "struck"

@operator
def total(data: Array, struck: str) -> int:
    note("total")
    return int(data.sum())

@workflow
def main(store: str, n: int = 1000) -> int:
    data = load(n)
    return total(data, strike(store, data))
"""


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path, FLOW)


def files(project):
    folder = project.folder / ".flow/artifacts"
    return [path for path in folder.glob("*/*") if not path.name.startswith(".")]


def test_a_flipped_bit_is_mended_while_the_run_goes_on(project):
    store = project.folder / ".flow/artifacts"
    shown = project.execute("-i", f"store={store}").stdout
    assert "is damaged: its content does not match its hash" in shown
    assert "total" in shown.split("again", 1)[1].splitlines()[0]
    assert project.ran() == {"load": 2, "strike": 1, "total": 1}
    assert project.json("show", "main-1")["result"] == 499_500


def test_what_a_run_came_to_is_mended_when_it_is_resumed(project):
    project.execute("-i", f"store={project.folder}/nowhere")
    for path in files(project):
        path.chmod(0o644)
        path.write_bytes(b"nonsense")
    (project.folder / "ran").unlink()
    project.execute("--resume", "main-1")
    assert project.ran() == {"load": 1}
    assert all(os.stat(path).st_size > 10 for path in files(project))
