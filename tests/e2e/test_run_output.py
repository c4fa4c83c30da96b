"""What `flowrun` prints, for people, pipes and machines; and what it refuses without leaving a trace."""

import json
import subprocess

import pytest
from project import BIN, Project

from flowc.plan import history

FLOW = """
import datetime

@operator(cpus=2, memory="64MB")
def square(x: int) -> int:
    print("squaring", x)
    return x * x

@operator
def total(xs: list[int]) -> int:
    return sum(xs)

@operator
def when(x: int) -> datetime.datetime:
    return datetime.datetime(2024, 1, 31, tzinfo=datetime.timezone.utc)

@workflow
def main(n: int, note: str = "none"):
    squares = []
    for i in range(5):
        squares.append(square(i))
    sum_ = total(squares)
    return {"sum": sum_, "when": when(n)}
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project with one run that succeeded."""
    project = Project(tmp_path_factory.mktemp("project"), FLOW)
    project.execute("-i", "n=5")
    return project


class TestExecute:
    def test_plain_lines(self, project):
        lines = project.execute("-i", "n=5", "--no-cache").stdout.splitlines()
        assert "7 nodes, on" in lines[0]
        assert sum("  start  " in line for line in lines) == 7
        assert sum("  done   " in line for line in lines) == 7
        assert any("succeeded in" in line for line in lines)
        assert '    "sum": 30,' in lines

    def test_json_lines_end_with_a_summary(self, project):
        done = project.execute("-i", "n=5", "--no-cache", "--json")
        first, *changes, last = [json.loads(line) for line in done.stdout.splitlines()]
        assert first == {"run": project.json("runs")[-1]["run"]}
        assert [changes[0]["change"], changes[-1]["change"]] == ["opened", "finish"]
        assert {change["change"] for change in changes} == {"opened", "start", "exited", "finish"}
        assert list(last) == ["summary"]
        assert (last["summary"]["status"], last["summary"]["result"]["sum"]) == ("succeeded", 30)
        assert done.stderr == ""

    @pytest.mark.parametrize("words", [[], ["--json"]])
    @pytest.mark.parametrize("reads", [0, 1, 4])
    def test_a_pipe_that_closes_does_not_hurt_the_run(self, project, words, reads):
        process = subprocess.Popen(
            [BIN / "flowrun", "execute", project.plan, "-i", "n=5", "--no-cache", *words],
            cwd=project.folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for _ in range(reads):
            process.stdout.readline()
        process.stdout.close()
        err = process.stderr.read()
        assert (process.wait(), err) == (0, b"")
        assert project.json("runs")[-1]["status"] == "succeeded"

    def test_an_output_that_is_full_does_not_hurt_it_either(self, project):
        with open("/dev/full", "w") as full:
            words = [BIN / "flowrun", "execute", project.plan, "-i", "n=5"]
            done = subprocess.run(words, cwd=project.folder, stdout=full, stderr=subprocess.PIPE)
        assert (done.returncode, done.stderr) == (0, b"")
        assert project.json("runs")[-1]["status"] == "succeeded"

    def test_no_process_is_left(self, project):
        project.execute("-i", "n=5")
        assert project.processes() == []


class TestLooking:
    def test_runs(self, project):
        rows = project.json("runs")
        assert rows[0]["run"] == "main-1"
        assert rows[0]["plan_file"] == project.plan
        lines = project.flowrun("runs").stdout.splitlines()
        assert lines[0].split() == ["run", "status", "started", "took", "plan"]
        assert lines[1].split()[:2] == ["main-1", "succeeded"]

    def test_show(self, project):
        found = project.json("show", "main-1")
        assert (found["status"], found["inputs"]) == ("succeeded", {"n": 5, "note": "none"})
        assert [node["state"] for node in found["nodes"]] == ["succeeded"] * 7
        assert found["result"]["sum"] == 30
        assert "main-1 succeeded: flows:main(n=5" in project.flowrun("show", "main-1").stdout

    def test_logs(self, project):
        node = project.json("show", "main-1")["nodes"][3]["node"]
        found = project.json("logs", "main-1", node)
        assert (found["node"], found["attempt"], found["lines"]) == (node, 1, ["squaring 3"])
        assert project.flowrun("logs", "main-1", node).stdout == "squaring 3\n"

    def test_logs_of_one_that_wrote_nothing(self, project):
        node = project.json("show", "main-1")["nodes"][5]["node"]
        done = project.flowrun("logs", "main-1", node)
        assert (done.stdout, done.stderr) == ("", f"`{node}` wrote nothing\n")

    @pytest.mark.parametrize(
        ("words", "code"),
        [(["show", "main-99"], "FR301"), (["logs", "main-1", "nobody"], "FR302")],
    )
    def test_what_is_not_there(self, project, words, code):
        assert f"error[{code}]" in project.flowrun(*words, status=1).stderr

    def test_an_empty_project(self, tmp_path, project):
        nowhere = ["--state", str(tmp_path / "nowhere")]
        assert project.json("runs", *nowhere) == []
        assert "no runs" in project.flowrun("runs", *nowhere).stdout
        assert not (tmp_path / "nowhere").exists()


class TestRefusals:
    """Nothing runs, and nothing is left that looks as if it had."""

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ([], "FR101"),
            (["-i", "n=5", "-i", "m=5"], "FR102"),
            (["-i", "n=many"], "FR103"),
            (["-i", "n"], "FR104"),
            (["-i", "n=5", "--resume", "main-99"], "FR301"),
            (["-i", "n=5", "--devices", "small.toml"], "FR110"),
            (["-i", "n=5", "--devices", "wrong.toml"], "FR111"),
            (["-i", "n=5", "--devices", "absent.toml"], "FR111"),
        ],
    )
    def test_leave_no_run(self, project, words, code):
        (project.folder / "small.toml").write_text("cpus = 1\nmemory_mb = 100")
        (project.folder / "wrong.toml").write_text("cpus = nan\nmemory_mb = 100")
        refused = project.execute(*words, "--state", "fresh", status=1)
        assert f"error[{code}]" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert refused.stdout == ""
        assert project.json("runs", "--state", "fresh") == []
        assert not (project.folder / "fresh/runs").exists()
        assert project.processes() == []

    def test_a_plan_that_never_fits_says_why_and_where(self, project):
        (project.folder / "small.toml").write_text("cpus = 1\nmemory_mb = 100")
        err = project.execute("-i", "n=5", "--devices", "small.toml", status=1).stderr
        assert "can never run on this host: it needs 2 CPUs, and there are 1" in err
        assert "squares.append(square(i))" in err

    def test_a_state_folder_that_cannot_be(self, project):
        (project.folder / "file").write_text("")
        refused = project.execute("-i", "n=5", "--state", "file", status=1)
        assert "error[FR305]" in refused.stderr
        assert "Traceback" not in refused.stderr

    def test_a_log_that_is_no_database(self, project):
        (project.folder / "odd").mkdir(exist_ok=True)
        (project.folder / "odd/runs.db").write_text("not a database, but long enough to look like one " * 20)
        for words in (["runs"], ["show"], ["execute", project.plan, "-i", "n=5"]):
            refused = project.flowrun(*words, "--state", "odd", status=1)
            assert "error[FR305]" in refused.stderr
            assert "Traceback" not in refused.stderr

    def test_a_run_of_another_workflow(self, project):
        (project.folder / "flows.py").write_text((project.folder / "flows.py").read_text() + OTHER)
        project.command("flowc", "compile", "flows.py:other", status=0)
        refused = project.flowrun("execute", "plans/other.plan.jsonl", "--resume", "main-1", status=1)
        assert "error[FR304]" in refused.stderr


OTHER = """

@workflow
def other():
    x = square(3)
    return x
"""


class TestHistory:
    def test_is_a_table_json_or_a_file_that_the_compiler_reads(self, project):
        table = project.flowrun("history").stdout.splitlines()
        assert table[0].split() == ["operator", "code", "calls", "median", "9", "of", "10", "peak"]
        assert [line.split()[0] for line in table[1:]] == ["flows:square", "flows:total", "flows:when"]
        records = project.json("history")
        assert {record["op"]: record["runs"] % 5 for record in records}["flows:square"] == 0
        said = project.flowrun("history", "-o", "history.jsonl").stdout
        assert said.startswith("history.jsonl: ")
        assert said.endswith(" calls of 3 operators\n")
        known = {record.op: record.wall_ms for record in history.read(project.folder / "history.jsonl")}
        assert known == {record["op"]: record["wall_ms"] for record in records}

    def test_of_nothing(self, project):
        said = project.flowrun("history", "--state", "nowhere").stdout
        assert said == "nothing has been measured in `nowhere` yet; `flowrun execute PLAN` does\n"
        assert not (project.folder / "nowhere").exists()

    def test_a_file_that_cannot_be_written(self, project):
        refused = project.flowrun("history", "-o", "no/where.jsonl", status=1)
        assert refused.stderr.startswith("error[FC260]: cannot write the history `no/where.jsonl`")
