"""What is kept on disk: damaged, of another compiler, written by two at once; and `flowc compile`."""

import os
import subprocess
import sys
import time
import zlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowc import keeping
from flowc.build import compiled_bytes
from flowc.compiler import Options
from flowc.keeping import read_kept, write_kept
from flowc.source import load
from flowc.timing import Stopwatch


def compile_again(workflow, root, known):
    """The bytes of a plan, with what was kept, and what to keep."""
    return compiled_bytes(workflow, Options(root), Stopwatch(time.perf_counter), known)


FLOW = """
from ops import *

@workflow
def sub(n: int):
    return [fit(load(str(i))) for i in range(n)]

@workflow
def main():
    return gather(sub(3), sub(4))
"""


@pytest.fixture
def kept(project, monkeypatch):
    """What the compilation of a project keeps, and the bytes of its plan."""
    monkeypatch.setattr(keeping, "LEAST_NODES", 0)
    monkeypatch.setattr(keeping, "_LEAST_OF_PARTITION", 1)
    project.write("flow.py", FLOW)
    source = load("flow.py:main")
    return compile_again(source.workflow, source.root, {})


def test_what_is_written_is_read(kept, tmp_path):
    write_kept(tmp_path / "some" / "it.cache", kept.kept)
    assert read_kept(tmp_path / "some" / "it.cache") == kept.kept
    assert len(kept.kept) == 3
    assert [path.name for path in (tmp_path / "some").iterdir()] == ["it.cache"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_noticed(kept, tmp_path, data):
    path = tmp_path / "it.cache"
    write_kept(path, kept.kept)
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for damaged in (changed, whole[:at], whole[at + 1 :], whole + b"x", b""):
        path.write_bytes(damaged)
        assert read_kept(path) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,  # lists within lists
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"a": 1}),
        msgspec.msgpack.encode({"a": [1, [[b"", "b"]], [], {}, {}, [], None]}),  # `b` is not there
    ],
)
def test_what_is_no_cache_is_not_used(tmp_path, body):
    path = tmp_path / "it.cache"
    path.write_bytes(keeping._compiler() + zlib.crc32(body).to_bytes(4, "little") + body)
    assert read_kept(path) == {}


def test_another_compiler_starts_anew(kept, tmp_path, monkeypatch):
    write_kept(tmp_path / "it.cache", kept.kept)
    monkeypatch.setattr(keeping, "_compiler", lambda: b"x" * 12)
    assert read_kept(tmp_path / "it.cache") == {}


def test_places_where_nothing_can_be_kept(kept, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.cache").mkdir()
    for path in (tmp_path / "file" / "it.cache", tmp_path / "folder.cache"):
        write_kept(path, kept.kept)
        assert read_kept(path) == {}
    assert sorted(path.name for path in tmp_path.iterdir() if path.suffix != ".py") == [
        "file",
        "folder.cache",
    ]


def test_a_small_plan_is_not_worth_keeping(project):
    project.write("flow.py", FLOW)
    source = load("flow.py:main")
    assert compile_again(source.workflow, source.root, {}).kept == {}


LARGE = """
from flowc import operator, workflow

@operator
def step(n: int, by: int = 0) -> int:
    return n

@workflow
def sub(n: int):
    return [step(i) for i in range(n)]

@workflow
def main():
    for i in range(3):
        sub(400 + i)
"""


@pytest.fixture
def flowc(tmp_path):
    """Start `flowc compile flow.py:main` in a process of its own."""
    root = str(Path(__file__).parents[2])
    start = "from flowc.cli import main; main()"

    def flowc(*options: str):
        command = [sys.executable, "-c", start, "compile", "flow.py:main", *options]
        environment = {**os.environ, "PYTHONPATH": root, "PYTHONDONTWRITEBYTECODE": "1"}
        return subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    return flowc


def test_commands_at_once_and_again(flowc, tmp_path):
    (tmp_path / "flow.py").write_text(LARGE)
    plan, cache = tmp_path / "plans" / "main.plan.jsonl", tmp_path / ".flow" / "compiled" / "flow.main.cache"
    assert flowc("--no-cache").wait() == 0
    clean = plan.read_bytes()
    assert not cache.exists()
    both = [flowc(), flowc("-o", "other.plan.jsonl")]
    assert [process.wait() for process in both] == [0, 0]
    assert plan.read_bytes() == (tmp_path / "other.plan.jsonl").read_bytes() == clean
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    assert len(read_kept(cache)) == 4
    cache.write_bytes(cache.read_bytes()[:-1])
    assert flowc("--check").wait() == 0


def test_a_mistake_is_told_by_a_new_process_where_tracing_has_effects(flowc, tmp_path):
    effects = LARGE.replace("def main():\n", "def main():\n    import os\n    COUNT.append(1)\n")
    (tmp_path / "flow.py").write_text(
        effects.replace("@workflow\ndef main", "COUNT = []\n\n@workflow\ndef main")
    )
    assert flowc().wait() == 0
    mistaken = (tmp_path / "flow.py").read_text() + "    step(0, by=f'{len(COUNT)}')\n"
    (tmp_path / "flow.py").write_text(mistaken)
    clean, again = flowc("--no-cache"), flowc()
    (_, expected), (_, found) = clean.communicate(), again.communicate()
    assert clean.returncode == again.returncode == 1
    assert found == expected
    assert "FC101" in found
