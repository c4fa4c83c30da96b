"""Looking after what runs made, through the command line: gc, verify and its --repair, artifacts, get."""

import json
import os
import time

import numpy as np
import pytest
from project import Project

FLOW = """
import os
import numpy as np
from flowc import Array

@operator
def load(n: int) -> Array:
    note("load")
    return np.arange(n)

@operator
def scale(data: Array, by: float) -> dict[str, Array]:
    note("scale")
    return {"scaled": data * by, "original": data}

@operator
def total(parts: dict[str, Array]) -> float:
    note("total")
    return float(parts["scaled"].sum())

@workflow
def main(n: int = 1000, by: float = 2.0) -> float:
    data = load(n)
    parts = scale(data, by)
    return total(parts)
"""


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path, FLOW)
    project.execute()
    return project


def files(project):
    return sorted(path for path in (project.folder / ".flow/artifacts").glob("??/*") if path.is_file())


def damage(path):
    path.chmod(0o644)
    path.write_bytes(b"nonsense")


def addresses(project, *words):
    return {row["address"].rsplit("/", 1)[0]: row for row in project.json("artifacts", *words)}


class TestArtifacts:
    def test_lists_what_each_node_made(self, project):
        found = addresses(project, "main-1")
        assert [*found] == [
            "main-1/data/result",
            "main-1/parts/result",
            "main-1/parts/original",
            "main-1/parts/scaled",
            "main-1/total/result",
        ]
        assert {row["form"] for row in found.values()} == {"npy", "msgpack"}
        data = found["main-1/data/result"]
        assert data["bytes"] == os.stat(project.folder / data["path"]).st_size
        assert found["main-1/parts/original"]["path"] == data["path"]  # the same content, once

    def test_as_a_table(self, project):
        head, *rows = project.flowrun("artifacts", "main-1", "data").stdout.splitlines()
        assert head.split() == ["address", "form", "size", "file"]
        assert len(rows) == 1
        assert "KiB" in rows[0]
        last = project.flowrun("artifacts", "main-1").stdout.splitlines()[-1]
        assert last.endswith("in the run log")

    def test_what_is_not_there(self, project):
        assert "error[FR301]" in project.flowrun("artifacts", "main-9", status=1).stderr
        assert "error[FR302]" in project.flowrun("artifacts", "main-1", "nobody", status=1).stderr


class TestGet:
    def test_shows_a_value(self, project):
        assert json.loads(project.flowrun("get", "main-1/total").stdout) == 999_000.0
        assert "1000" in project.flowrun("get", "main-1/data").stdout  # how many there are

    @pytest.mark.parametrize("cut", [None, -1, -60])
    def test_writes_a_file_as_it_is_stored(self, project, cut):
        address = addresses(project, "main-1")["main-1/parts/scaled"]["address"][:cut]
        project.flowrun("get", address, "-o", "scaled.npy")
        assert np.load(project.folder / "scaled.npy").sum() == 999_000

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            (["main-1/nobody"], "FR162"),
            (["main-1/par"], "FR162"),
            (["main-9/data"], "FR301"),
            (["main-1/data", "-o", "no/such/folder"], "FR163"),
        ],
    )
    def test_refuses(self, project, words, code):
        refused = project.flowrun("get", *words, status=1)
        assert f"error[{code}]" in refused.stderr
        assert "Traceback" not in refused.stderr

    def test_what_is_damaged_says_what_to_do(self, project):
        for path in files(project):
            damage(path)
        refused = project.flowrun("get", "main-1/data", "-o", "data.npy", status=1).stderr
        assert "error[FR307]" in refused
        assert "hint: `flowrun retry main-1` makes it again" in refused
        assert not (project.folder / "data.npy").exists()


class TestGc:
    def test_removes_what_no_run_that_is_kept_needs(self, project):
        project.execute("-i", "n=2000")
        before = {*files(project)}
        time.sleep(1.1)  # what is not older than a clock's grain might be needed by somebody
        dry = project.flowrun("gc", "--keep-runs", "1", "--dry-run").stdout
        assert {*files(project)} == before
        assert dry.startswith("would remove 2 files")
        assert "would give up 1 run: main-1" in dry
        found = project.json("gc", "--keep-runs", "1")
        assert (found["files"], found["dropped"]) == (2, ["main-1"])
        left = {*files(project)}
        assert left < before
        assert len(before - left) == 2
        assert project.flowrun("verify").stdout.endswith("of 2 runs: all sound\n")
        assert json.loads(project.flowrun("get", "main-2/total").stdout) == 3_998_000.0

    def test_keeps_all_without_a_word(self, project):
        before = files(project)
        assert project.flowrun("gc").stdout.splitlines()[0] == "removed 0 files, 0 bytes"
        assert files(project) == before

    def test_where_there_is_no_log(self, project):
        assert "error[FR161]" in project.flowrun("gc", "--state", "nowhere", status=1).stderr
        assert not (project.folder / "nowhere").exists()


class TestVerify:
    def test_all_is_sound(self, project):
        assert project.flowrun("verify").stdout.endswith("of 1 run: all sound\n")
        assert project.json("verify")["damage"] == []

    def test_names_what_is_damaged_who_made_it_and_what_to_do(self, project):
        address = addresses(project, "main-1")["main-1/parts/scaled"]
        damage(project.folder / address["path"])
        found = project.flowrun("verify", status=1)
        assert "error[FR307]" in found.stderr
        assert "node `parts` of run `main-1` made it" in found.stderr
        assert "hint: `flowrun retry main-1` makes it again" in found.stderr
        assert found.stdout.endswith("of 1 run: 1 problem\n")
        (told,) = json.loads(project.flowrun("verify", "--json", status=1).stdout)["damage"]
        assert told == {"hash": address["address"][-64:], "made_by": [["main-1", "parts"]]}

    def test_the_hint_works(self, project):
        damage(files(project)[0])
        project.flowrun("retry", "main-1")
        project.flowrun("verify")
        assert "error[FR155]" in project.flowrun("retry", "main-1", status=1).stderr  # nothing is left to do


class TestRepair:
    def repair(self, project, status=0):
        (project.folder / "ran").unlink()
        return project.flowrun("verify", "--repair", status=status)

    def test_makes_again_what_is_damaged_or_missing_and_nothing_else(self, project):
        before = files(project)
        contents = [path.read_bytes() for path in before]
        found = addresses(project, "main-1")
        damage(project.folder / found["main-1/parts/scaled"]["path"])
        done = self.repair(project)
        assert project.ran() == {"scale": 1}
        assert "error[FR307]" in done.stderr
        assert done.stdout.endswith("of 1 run: all sound\n")
        (project.folder / found["main-1/data/result"]["path"]).unlink()
        self.repair(project)
        assert project.ran() == {"load": 1}  # `scale` gave `original`, which is the same
        assert [path.read_bytes() for path in before] == contents

    def test_what_many_runs_made_is_made_once(self, project):
        project.execute("--no-cache")
        project.execute("-i", "by=3.0")
        damage(project.folder / addresses(project, "main-1")["main-1/data/result"]["path"])
        self.repair(project)
        assert project.ran()["load"] == 1

    def test_with_nothing_to_do_nothing_runs(self, project):
        assert self.repair(project).stdout.endswith("of 1 run: all sound\n")
        assert project.ran() == {}

    def test_what_nobody_needs_any_more_is_for_gc(self, project):
        found = addresses(project, "main-1")
        scaled = project.folder / found["main-1/parts/scaled"]["path"]
        project.flowrun("gc", "--keep-runs", "0", "--keep-days", "0")
        if not scaled.exists():
            scaled.parent.mkdir(exist_ok=True)
            scaled.write_bytes(b"")
        damage(scaled)
        done = self.repair(project, status=1)
        assert "hint: `flowrun gc` removes what nobody needs" in done.stderr
        assert project.ran() == {}
        time.sleep(1.1)
        project.flowrun("gc")
        project.flowrun("verify")

    def test_what_is_not_the_same_again_is_told(self, tmp_path):
        """The run has what is sound then; the old content is damaged still, and nobody's."""
        made = FLOW.replace("np.arange(n)", "np.arange(n) + os.getpid()")
        project = Project(tmp_path, made)
        project.execute()
        damage(project.folder / addresses(project, "main-1")["main-1/data/result"]["path"])
        done = self.repair(project, status=1)
        assert "`flowrun gc` removes what nobody needs" in done.stderr
        time.sleep(1.1)
        project.flowrun("gc")
        assert project.flowrun("verify").stdout.endswith("all sound\n")
        assert project.json("show", "main-1")["status"] == "succeeded"

    def test_what_cannot_run_any_more_says_so(self, project):
        damage(project.folder / addresses(project, "main-1")["main-1/data/result"]["path"])
        project.write(FLOW.replace("np.arange(n)", "np.arange(n + 1)"))
        done = self.repair(project, status=1)
        assert "error[FR206]" in done.stderr
        assert "has changed since the plan was compiled" in done.stderr
        assert "Traceback" not in done.stderr
