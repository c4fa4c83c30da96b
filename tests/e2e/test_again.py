"""Runs again: a part of one, one with other inputs; ending one from elsewhere, tagging, comparing."""

import os
import signal

FLOW = """
@operator
def load(n: int) -> list[int]:
    note("load")
    return list(range(n))

@operator
def train(data: list[int], seed: int) -> int:
    note("train")
    if seed == 13 and not (project() / "mended").exists():
        raise ValueError("unlucky")
    return sum(data) + seed

@operator
def other(n: int) -> int:
    note("other")
    if n == 99:
        tell("waits")
        signal.pause()
    return n

@workflow
def main(n: int = 3, seed: int = 1):
    return train(load(n), seed), other(n)
"""


def test_a_rerun_keeps_what_its_inputs_do_not_change_and_says_so_beforehand(project):
    project.execute()
    said = project.flowrun("rerun", "main-1", "-i", "seed=5", "--tag", "team=ads").stdout
    assert "as main-1, but `seed` is 5, was 1" in said
    assert "kept    2 nodes  load, other" in said
    assert "to run  1 node   train" in said
    assert project.ran() == {"load": 1, "other": 1, "train": 2}
    shown = project.json("show", "main-2")
    assert (shown["inputs"], shown["result"]) == ({"n": 3, "seed": 5}, [8, 3])
    assert [row["run"] for row in project.json("runs", "--where", "tag.team=ads")] == ["main-2"]
    project.flowrun("rerun", "main-2", "-i", "seed=6")  # what was kept is handed on
    assert project.ran() == {"load": 1, "other": 1, "train": 3}


def test_a_dry_rerun_runs_nothing_and_leaves_nothing(project):
    project.execute()
    assert project.json("rerun", "main-1", "-i", "n=4", "--dry-run") == {
        "kept": [],
        "to_run": ["load", "train", "other"],
        "loops": [],
    }
    assert len(project.json("runs")) == 1


def test_a_rerun_takes_what_any_run_computed_and_what_always_runs_is_no_reason_to_keep_what_follows(project):
    """`read` is never taken from earlier: what it gives now decides whether `double` runs."""
    project.write(
        """
@operator(cache=False)
def read() -> int:
    note("read")
    return int((project() / "number").read_text())

@operator
def double(n: int, factor: int) -> int:
    note("double")
    return n * factor

@workflow
def main(factor: int = 2):
    return double(read(), factor)
"""
    )
    project.compile()
    number = project.folder / "number"
    number.write_text("1")
    project.execute()
    number.write_text("4")
    assert project.json("rerun", "main-1", "--dry-run")["to_run"] == ["read", "double"]
    project.flowrun("rerun", "main-1")
    assert project.json("show", "main-2")["result"] == 8
    number.write_text("1")
    project.flowrun("rerun", "main-2")
    assert (project.json("show", "main-3")["result"], project.ran()) == (2, {"read": 3, "double": 2})


def test_of_a_rerun_without_cache_all_is_computed(project):
    project.execute()
    assert project.json("rerun", "main-1", "--no-cache", "--dry-run")["kept"] == []
    project.flowrun("rerun", "main-1", "--refresh", "load")
    assert project.ran() == {"load": 2, "other": 1, "train": 1}


def test_a_retry_goes_on_with_what_failed_and_from_a_node_on(project):
    project.execute("-i", "seed=13", status=1)
    (project.folder / "mended").touch()
    project.flowrun("retry", "main-1")
    assert project.ran() == {"load": 1, "other": 1, "train": 2}
    assert "FR155" in project.flowrun("retry", "main-1", status=1).stderr
    assert "FR302" in project.flowrun("retry", "main-1", "--from", "lod", status=1).stderr
    project.flowrun("retry", "main-1", "--from", "load")
    assert project.ran() == {"load": 2, "other": 1, "train": 3}
    assert [row["status"] for row in project.json("runs")] == ["succeeded"]


def test_a_run_is_ended_and_tagged_from_elsewhere(project):
    run = project.start("-i", "n=99")
    assert project.told() == "waits"
    assert project.flowrun("tag", "main-1", "team=ads").stdout == "main-1: team=ads\n"
    assert "is asked to end it" in project.flowrun("cancel", "main-1").stdout
    status, _, _ = run.end()
    assert status == 130
    (row,) = project.json("runs")
    assert (row["status"], row["tags"]) == ("cancelled", {"team": "ads"})
    assert "FR153" in project.flowrun("cancel", "main-1", status=1).stderr
    project.flowrun("tag", "main-1", "team=")
    assert project.json("runs")[0]["tags"] == {}


def test_an_interrupted_run_cannot_be_cancelled(project):
    run = project.start("-i", "n=99")
    assert project.told() == "waits"
    os.kill(run.process.pid, signal.SIGKILL)
    run.end()
    assert "it was interrupted" in project.flowrun("cancel", "main-1", status=1).stderr


def test_two_runs_side_by_side(project):
    project.execute()
    project.execute("-i", "seed=13", status=1)
    said = project.flowrun("diff", "main-1", "main-2").stdout
    assert "input seed  1 → 13" in said
    found = project.json("diff", "main-1", "main-2")
    assert found["status"] == {"first": "succeeded", "second": "failed"}
    (node,) = (pair for pair in found["nodes"] if "state" in pair)
    assert (node["node"], node["because"]) == ("train", ["input `seed`"])
