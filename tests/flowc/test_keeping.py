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

from flowc import keeping, kept
from flowc.build import compiled_bytes
from flowc.compiler import Options
from flowc.kept import Kept, Known, Slice, read_known, write_known
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
def known(project, monkeypatch):
    """A plan, and what its compilation keeps."""
    monkeypatch.setattr(keeping, "LEAST_NODES", 0)
    monkeypatch.setattr(keeping, "_LEAST_OF_PARTITION", 1)
    project.write("flow.py", FLOW)
    source = load("flow.py:main")
    compiled = compile_again(source.workflow, source.root, Known())
    return Known(compiled.data, compiled.kept)


@pytest.fixture
def files(tmp_path):
    """Where an index and a plan are kept."""
    return tmp_path / "some" / "it.cache", tmp_path / "it.plan.jsonl"


def written(known, index, plan):
    plan.write_bytes(known.plan)
    write_known(index, known)


def found_in(index, plan):
    """The keys of what is known."""
    return read_known(index, plan).partitions.keys()


def test_what_is_written_is_read(known, files):
    written(known, *files)
    found = read_known(*files)
    assert (found.plan, found.partitions) == (known.plan, known.partitions)
    assert len(known.partitions) == 3
    assert [path.name for path in files[0].parent.iterdir()] == ["it.cache"]


def test_rows_stand_in_the_plan(known):
    rows = {key: bytes(Slice(key, known).rows()) for key in known.partitions}
    nodes = [line for line in known.plan.splitlines(keepends=True) if line.startswith(b'{"kind":"node"')]
    outermost = max(rows.values(), key=len)
    assert outermost == b"".join(nodes)
    assert sorted(len(found.splitlines()) for found in rows.values()) == [6, 8, 15]
    assert all(found in outermost for found in rows.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_is_noticed(known, files, data):
    written(known, *files)
    damaged = files[data.draw(st.integers(0, 1))]
    whole = damaged.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    changed = whole[:at] + bytes([whole[at] ^ data.draw(st.integers(1, 255))]) + whole[at + 1 :]
    for content in (changed, whole[:at], whole[at + 1 :], whole + b"x", b""):
        damaged.write_bytes(content)
        assert not found_in(*files)


def test_another_plan_starts_anew(known, files):
    written(known, *files)
    files[1].write_bytes(known.plan.replace(b"main", b"maim"))
    assert not found_in(*files)
    files[1].unlink()
    assert not found_in(*files)


PLAN = b"rows\n"
KEPT = Kept(0, 4, 1, [], [], {}, {}, [], None)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,  # lists within lists
        msgspec.msgpack.encode([1, 2]),
        msgspec.msgpack.encode({"a": 1}),
        msgspec.msgpack.encode([kept._digest(PLAN), {"a": msgspec.structs.replace(KEPT, inner=["b"])}]),
        msgspec.msgpack.encode([kept._digest(PLAN), {"a": msgspec.structs.replace(KEPT, size=6)}]),
        msgspec.msgpack.encode([kept._digest(PLAN), {"a": msgspec.structs.replace(KEPT, start=-1)}]),
        msgspec.msgpack.encode([kept._digest(PLAN), {"a": msgspec.structs.replace(KEPT, start=2, size=-1)}]),
        msgspec.msgpack.encode([b"", {"a": KEPT}]),
    ],
)
def test_what_is_no_index_is_not_used(files, body):
    index, plan = files
    index.parent.mkdir()
    plan.write_bytes(PLAN)
    index.write_bytes(kept._compiler() + zlib.crc32(body).to_bytes(4, "little") + body)
    assert not found_in(index, plan)
    body = msgspec.msgpack.encode([kept._digest(PLAN), {"a": KEPT}])
    index.write_bytes(kept._compiler() + zlib.crc32(body).to_bytes(4, "little") + body)
    assert [*found_in(index, plan)] == ["a"]


def test_another_compiler_starts_anew(known, files, monkeypatch):
    written(known, *files)
    monkeypatch.setattr(kept, "_compiler", lambda: b"x" * 12)
    assert not found_in(*files)


def test_places_where_nothing_can_be_kept(known, files, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.cache").mkdir()
    for index in (tmp_path / "file" / "it.cache", tmp_path / "folder.cache"):
        written(known, index, files[1])
        assert not found_in(index, files[1])
    names = {path.name for path in tmp_path.iterdir() if path.suffix != ".py"}
    assert names == {"file", "folder.cache", "it.plan.jsonl"}


def test_a_small_plan_is_not_worth_keeping(project):
    project.write("flow.py", FLOW)
    source = load("flow.py:main")
    assert compile_again(source.workflow, source.root, Known()).kept == {}


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
    both = [flowc(), flowc()]
    assert [process.wait() for process in both] == [0, 0]
    assert plan.read_bytes() == clean
    assert [path.name for path in cache.parent.iterdir()] == [cache.name]
    assert len(read_known(cache, plan).partitions) == 4
    index = cache.read_bytes()
    cache.write_bytes(index[:-1])
    assert flowc("--check").wait() == 0
    assert cache.read_bytes() == index


def test_a_plan_that_is_as_before_is_not_written_again(flowc, tmp_path):
    (tmp_path / "flow.py").write_text(LARGE)
    plan = tmp_path / "plans" / "main.plan.jsonl"
    assert flowc().wait() == 0
    before, clean = plan.stat().st_ino, plan.read_bytes()
    os.utime(plan, (1, 1))
    assert flowc().wait() == 0
    assert plan.stat().st_ino == before
    assert plan.stat().st_mtime > 1  # for tools that go by time
    plan.write_bytes(clean.replace(b"step", b"stop"))
    assert flowc().wait() == 0
    assert plan.read_bytes() == clean
    plan.unlink()
    assert flowc().wait() == 0
    assert plan.read_bytes() == clean
    assert flowc("-o", "other.plan.jsonl").wait() == 0
    assert (tmp_path / "other.plan.jsonl").read_bytes() == clean


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
