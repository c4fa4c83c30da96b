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


def flowc(arguments, folder, seed):
    """Run the compiler as a new process in a folder."""
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-c", "from flowc.cli import main; main()", *arguments]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def compiled(source, folder, seed):
    """The bytes of a source's plan, compiled by a new process in a folder of its own."""
    shutil.copytree(HERE, folder, ignore=shutil.ignore_patterns("__pycache__", "*.jsonl", "test_*"))
    flowc(["compile", f"{source.name}:main"], folder, seed)
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


@pytest.mark.slow
@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_source_compiles_to_the_same_bytes_for_every_hash_seed(source, tmp_path):
    golden = source.with_suffix(".plan.jsonl").read_bytes()
    for seed in ("0", "2", "3", "1000", "4294967295", "random"):
        assert compiled(source, tmp_path / seed, seed) == golden


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.stem)
def test_a_module_and_its_file_compile_to_the_same_bytes_through_a_link(source, tmp_path):
    """The folder is reached by another path than it has, and the module is named instead of the file."""
    (tmp_path / "link").symlink_to(tmp_path / "real", target_is_directory=True)
    golden = source.with_suffix(".plan.jsonl").read_bytes()
    assert compiled(source, tmp_path / "real", "5") == golden
    flowc(["compile", f"{source.stem}:main", "-o", "other.jsonl"], tmp_path / "link", "6")
    assert (tmp_path / "real" / "other.jsonl").read_bytes() == golden


@pytest.mark.parametrize("name", ["iris", "digits"])
def test_installed_workflows_compile_to_the_committed_bytes_in_any_folder(name, tmp_path):
    committed = (HERE.parents[1] / "plans" / f"{name}.plan.jsonl").read_bytes()
    for seed in ("7", "4242"):
        flowc(["compile", f"stdlib.workflows.{name}:{name}"], tmp_path, seed)
        assert (tmp_path / "plans" / f"{name}.plan.jsonl").read_bytes() == committed


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
