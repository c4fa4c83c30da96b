"""`flowc init`: what it lays out compiles, tests and runs at once, and nothing is ever written over."""

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from flowc.plan.codec import read
from flowc.plan.diagnostics import Refused
from flowc.skeleton import lay_out

BIN = Path(sys.executable).parent
TEMPLATE = Path(lay_out.__code__.co_filename).parent / "template"
FILES = [
    ".gitattributes",
    ".github/workflows/ci.yml",
    ".gitignore",
    "Makefile",
    "README.md",
    "demo/__init__.py",
    "demo/operators.py",
    "demo/workflows.py",
    "plans/README.md",
    "pyproject.toml",
    "tests/test_operators.py",
]


def run(command, folder):
    """Run a command as a user whose Python is this one."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": ""}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def files_in(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def refusal(folder):
    with pytest.raises(Refused) as refusal:
        lay_out(folder)
    (diagnostic,) = refusal.value.diagnostics
    return diagnostic


@pytest.fixture
def demo(tmp_path):
    folder = tmp_path / "demo"
    lay_out(folder)
    return folder


def test_it_lays_out_a_project_and_says_what_to_do_next(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    said = lay_out(Path("demo")).splitlines()
    assert files_in(tmp_path / "demo") == FILES
    assert said == ["demo: a new project", *(f"  demo/{path}" for path in FILES), "next: cd demo && make"]
    monkeypatch.chdir(tmp_path / "demo" / "plans")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert lay_out(Path()).splitlines()[-1] == "next: make"
    assert (tmp_path / "here" / "here" / "operators.py").is_file()


def test_the_name_stands_everywhere(demo):
    texts = [(demo / path).read_text() for path in FILES]
    assert not [text for text in texts if "PROJECT" in text]
    assert tomllib.loads((demo / "pyproject.toml").read_text())["project"]["name"] == "demo"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_compiles_checks_tests_and_runs(demo):
    said = run(["make"], demo)
    for expected in ("plans/train.plan.jsonl is current", "3 passed", "train-1 succeeded", '"name": "line"'):
        assert expected in said
    plan = read(demo / "plans" / "train.plan.jsonl")
    assert [node.id for node in plan.nodes] == [
        *("sample", "parts", "models[constant]", "models[line]", "errors[constant]", "errors[line]", "best")
    ]
    assert "train-2 succeeded" in run(["make", "run", "ROWS=50"], demo)


def test_each_step_by_itself(demo):
    run(["flowc", "compile", "demo.workflows:train"], demo)
    assert "is current" in run(["flowc", "compile", "--check", "demo.workflows:train"], demo)
    assert "3 passed" in run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"], demo)
    assert "train-1 succeeded" in run(["flowrun", "execute", "plans/train.plan.jsonl"], demo)
    assert "longest path" in run(["flowc", "show", "plans/train.plan.jsonl"], demo)


def test_what_is_laid_out_has_the_style_of_the_house(demo):
    run([BIN / "ruff", "check", "--line-length", "110", "--select", "E,F,W,I,N,UP,B,D1", "demo"], demo)
    run([BIN / "ruff", "format", "--line-length", "110", "--check", "."], demo)


def test_every_file_of_the_template_is_tracked():
    """An ignored file would be missing in a clone, and in the package."""
    found = subprocess.run(
        ["git", "ls-files", "."], cwd=TEMPLATE, capture_output=True, text=True, check=False
    )
    if found.returncode:
        pytest.skip("not in a repository")
    assert len(found.stdout.splitlines()) == len(FILES)


def test_nothing_is_written_over(tmp_path):
    folder = tmp_path / "demo"
    (folder / "plans").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    (folder / "Makefile").write_text("mine")
    (folder / "demo").write_text("mine")
    (folder / "README.md").symlink_to("nowhere")
    diagnostic = refusal(folder)
    assert diagnostic.code == "FC246"
    in_the_way = ["Makefile", "README.md", "demo"]
    assert sorted(diagnostic.notes) == [f"{folder}/{path}" for path in in_the_way]
    assert files_in(folder) == ["Makefile", "demo", "notes.txt"]
    assert (folder / "Makefile").read_text() == "mine"


def test_a_folder_with_other_files_becomes_a_project(tmp_path):
    folder = tmp_path / "demo"
    (folder / "tests").mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    lay_out(folder)
    assert files_in(folder) == sorted([*FILES, "notes.txt"])


def test_a_second_time_is_refused(demo):
    diagnostic = refusal(demo)
    assert diagnostic.code == "FC246"
    assert diagnostic.notes[-1] == "... 1 more"


@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("my-models", "my_models"),
        ("2nd", "my_2nd"),
        ("class", "my_class"),
        ("random", "my_random"),
        ("Flowc Demo!", "flowc_demo"),
        ("stdlib", "my_stdlib"),
        ("tests", "my_tests"),
        ("größe", "gr_e"),
        ("...", None),
    ],
)
def test_a_name_that_is_none_is_refused_with_one_that_is(name, proposed, tmp_path):
    diagnostic = refusal(tmp_path / name)
    assert diagnostic.code == "FC245"
    assert not (tmp_path / name).exists()
    if proposed:
        assert diagnostic.hint == f"for example `flowc init {proposed}`"
        lay_out(tmp_path / proposed)


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    diagnostic = refusal(tmp_path / "file" / "demo")
    assert diagnostic.code in ("FC245", "FC246")
    assert (tmp_path / "file").read_text() == "mine"
