"""Workflow sources beside their plans: every source must compile to exactly these bytes, anywhere.

    python tests/golden/test_golden.py --update     writes the plans anew, for review
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCES = sorted(path for path in HERE.glob("*.py") if not path.name.startswith(("test_", "shared_")))


def compiled(source, folder, seed):
    """The bytes of a source's plan, compiled by a new process in a folder of its own."""
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.jsonl", "test_*"))
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "from flowc.cli import main; main()", "compile", f"{source.name}:main"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "plans").iterdir()] == ["main.plan.jsonl"]
    return (folder / "plans" / "main.plan.jsonl").read_bytes()


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_source_compiles_to_the_golden_bytes(source, tmp_path):
    golden = source.with_suffix(".plan.jsonl").read_bytes()
    one = compiled(source, tmp_path / "one", "1")
    assert _without_versions(one) == _without_versions(golden)
    assert compiled(source, tmp_path / "a folder, deeper" / "two", "4242") == one


def _without_versions(plan):
    """A plan's rows but for those that tell what is installed here."""
    return [row for row in plan.decode().splitlines() if not row.startswith('{"kind":"package",')]


def test_every_plan_has_its_source():
    assert {path.name.partition(".")[0] for path in HERE.glob("*.jsonl")} == {path.stem for path in SOURCES}


def update():
    import tempfile

    for source in SOURCES:
        with tempfile.TemporaryDirectory() as folder:
            source.with_suffix(".plan.jsonl").write_bytes(compiled(source, Path(folder) / "copy", "0"))


if __name__ == "__main__":
    assert sys.argv[1:] == ["--update"], __doc__
    update()
