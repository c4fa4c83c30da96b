"""What only the run knows, with real processes: loops, branches, handlers, secrets; cut off and resumed."""

import os
import signal

import pytest
from project import Project

# `square` of 2 waits until there is a file `open`.
FLOW = """
from dataclasses import dataclass
from flowc import finally_, foreach, on_failure, reduce, when

@dataclass
class Item:
    name: str
    size: int

@operator
def items(n: int) -> list[Item]:
    note("items")
    return [Item(f"i{size}", size) for size in range(n)]

@operator
def square(item: Item, times: int) -> int:
    note(f"square{item.size}")
    if item.size == 2 and not (project() / "open").exists():
        tell("square waits")
        signal.pause()
    return item.size**2 * times

@operator
def add(a: int, b: int) -> int:
    note("add")
    return a + b

@operator
def exceeds(total: int, limit: int) -> bool:
    return total > limit

@operator
def name(total: int, what: str) -> str:
    note(what)
    if total == 0:
        raise ValueError("nothing")
    return f"{what} {total}"

@operator
def clean(why: str) -> None:
    note(why)

@workflow
def main(n: int = 4, limit: int = 10):
    squares = foreach(square, items(n), key="name", times=2)
    total = reduce(add, squares, 0)
    said = when(exceeds(total, limit), lambda: name(total, "large"), lambda: name(total, "small"))
    on_failure(lambda: clean("failed"))
    finally_(lambda: clean("over"))
    return {"squares": squares, "said": said}
"""


@pytest.fixture
def open_project(project):
    (project.folder / "open").touch()
    return project


def states(project, run):
    """`{"succeeded": {"items", ...}, ...}`"""
    found = {}
    for node in project.json("show", run)["nodes"]:
        found.setdefault(node["state"], set()).add(node["node"])
    return found


def result(project, run):
    return project.json("show", run)["result"]


@pytest.mark.parametrize(
    ("n", "squares", "said", "skipped"),
    [
        (4, [0, 2, 8, 18], "large 28", "name~2"),
        (3, [0, 2, 8], "small 10", "name"),
        (2, [0, 2], "small 2", "name"),
    ],
)
def test_a_loop_as_long_as_the_run_finds_and_the_branch_it_leads_to(open_project, n, squares, said, skipped):
    open_project.execute("-i", f"n={n}")
    assert result(open_project, "main-1") == {"squares": squares, "said": said}
    found = states(open_project, "main-1")
    assert found["skipped"] == {skipped, "clean"}
    assert {f"squares[i{i}]" for i in range(n)} <= found["succeeded"]
    assert open_project.ran()["over"] == 1
    assert not open_project.ran()["failed"]


def test_it_shows_what_loops_and_branches_came_to(open_project):
    out = open_project.execute().stdout
    assert [line.split()[2:] for line in out.splitlines() if "known" in line.split()] == [
        ["known", "squares", "4", "items"],
        ["known", "total", "4", "items"],
        ["known", "said.if", "true"],
    ]
    shown = [line.split(None, 2) for line in open_project.flowrun("show").stdout.splitlines()]
    told = {words[0]: words[1:] for words in shown if len(words) == 3}
    assert told["squares"] == ["succeeded", "4 nodes"]
    assert told["name~2"] == ["skipped", "`said.if` is true"]
    assert told["clean"] == ["skipped", "nothing failed"]
    rows = [words[0] for words in shown if words]
    assert rows.index("squares") + 1 == rows.index("squares[i0]")  # its nodes stand below a loop


def test_no_items_and_a_failure_with_its_handlers(open_project):
    done = open_project.execute("-i", "n=0", status=1)
    assert "node `name~2` failed: ValueError: nothing" in done.stderr
    assert open_project.ran() == {"items": 1, "small": 1, "failed": 1, "over": 1}
    assert states(open_project, "main-1")["blocked"] == {"said"}


def test_ctrl_c_in_a_loop_lets_only_the_last_handler_run(project):
    execution = project.start()
    assert project.told() == "square waits"
    execution.signal(signal.SIGINT)
    status, _, _ = execution.end()
    assert status == 130
    assert project.ran()["over"] == 1
    assert not project.ran()["failed"]
    found = states(project, "main-1")
    assert {"squares", "squares[i2]", "total", "said", "clean"} <= found["cancelled"]
    assert "clean~2" in found["succeeded"]


def test_a_crash_in_a_loop_keeps_the_items_that_are_done(project):
    execution = project.start()
    assert project.told() == "square waits"
    execution.until("done", "squares[i3]")
    os.kill(execution.process.pid, signal.SIGKILL)
    execution.end()
    (project.folder / "open").touch()
    out = project.execute("--resume", "main-1").stdout
    assert "4 results kept" in out
    ran = project.ran()
    assert [ran[name] for name in ("items", "square0", "square1", "square2", "square3")] == [1, 1, 1, 2, 1]
    assert result(project, "main-1") == {"squares": [0, 2, 8, 18], "said": "large 28"}


def test_a_resumed_run_takes_the_other_branch_if_its_inputs_say_so(open_project):
    open_project.execute()
    open_project.execute("--resume", "main-1", "-i", "limit=100")
    assert result(open_project, "main-1")["said"] == "small 28"
    ran = open_project.ran()
    assert (ran["items"], ran["square2"], ran["large"], ran["small"], ran["over"]) == (1, 1, 1, 1, 2)


SECRETS = """
@operator(secrets=["TOKEN"], env=["REGION"])
def fetch() -> str:
    return os.environ["TOKEN"][:3] + os.environ["REGION"]

@operator
def look(after_fetch: str) -> list[str | None]:
    return [os.environ.get("TOKEN"), os.environ.get("REGION")]

@workflow
def main():
    fetched = fetch()
    return fetched, look(fetched)
"""


def test_secrets_are_for_the_operator_that_declares_them(tmp_path, monkeypatch):
    project = Project(tmp_path, SECRETS)
    monkeypatch.setenv("TOKEN", "s3cret-value")
    monkeypatch.setenv("REGION", "eu")
    project.execute()
    assert result(project, "main-1") == ["s3ceu", [None, "eu"]]
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(b"s3cret-value" in data for data in written)


def test_a_variable_that_is_not_set_is_found_before_anything_runs(tmp_path, monkeypatch):
    project = Project(tmp_path, SECRETS)
    monkeypatch.setenv("TOKEN", "x")
    monkeypatch.delenv("REGION", raising=False)
    done = project.execute(status=1)
    assert "error[FR112]: the environment variable `REGION` is not set" in done.stderr
    assert "flows.py:" in done.stderr
    assert "there are no runs" in project.flowrun("runs").stdout


def test_a_loop_over_what_is_no_list_fails(tmp_path):
    project = Project(
        tmp_path,
        """
from typing import Any
from flowc import foreach

@operator
def give() -> Any:
    return {"a": 1}

@operator
def use(item: Any) -> Any:
    return item

@workflow
def main():
    return use(foreach(use, give()))
""",
    )
    done = project.execute(status=1)
    assert "error[FR208]: node `use` failed: a loop needs a list, got `dict`" in done.stderr
