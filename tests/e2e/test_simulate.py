"""From real runs to a prediction, through the commands."""

import pytest
from project import Project

SOURCE = """
@operator(memory="10MB")
def load(n: int) -> list[int]:
    import numpy
    return list(range(n))

@operator
def double(x: int) -> int:
    return 2 * x

@workflow
def main(n: int = 3):
    from flowc import foreach
    return foreach(double, load(n))
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    found = Project(tmp_path_factory.mktemp("project"), SOURCE)
    found.execute()
    found.flowrun("history", "-o", "history.jsonl")
    return found


def test_a_history_tells_what_a_simulation_needs(project):
    rows = (project.folder / "history.jsonl").read_text()
    assert '"items":3' in rows
    assert '"kind":"module","module":"numpy"' in rows
    assert '"kind":"runner","runs":3' in rows  # of `load` nobody can tell: numpy was loaded for it


def test_a_simulation_has_the_nodes_of_the_run(project):
    found = project.json("simulate", project.plan, "--history", "history.jsonl")
    ran = [node["node"] for node in project.json("show")["nodes"] if node.get("attempt")]
    assert sorted(row["node"] for row in found["schedule"]) == sorted(ran)
    assert (found["unknown"]["nodes"], found["assumptions"][0]["reason"]) == (0, "history")
    assert 0 < found["findings"]["makespan_ms"] < 60_000


def test_charts_of_a_run_that_was(project):
    said = project.flowrun("show", "--gantt", "--svg", "run.svg").stdout
    assert said.startswith("main-1 succeeded: ")
    assert "the end     is decided by load → " in said
    assert (project.folder / "run.svg").read_text().startswith("<svg ")
    assert "FR133" in project.flowrun("show", "--svg", "no/where.svg", status=1).stderr
