"""What came of a run, as data and as text."""

import datetime

import numpy as np
import pytest
from graphs import Run, host, plan

from flowc.plan.diagnostics import render
from flowrun.core.changes import Earlier
from flowrun.core.model import Artifact, Usage
from flowrun.shell.log.home import Home
from flowrun.shell.showing.report import abbreviate, failures, report
from flowrun.shell.showing.views import details, summary


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path)


class TestAbbreviate:
    @pytest.mark.parametrize(
        ("value", "shown"),
        [
            (None, None),
            (True, True),
            (3, 3),
            (2.5, 2.5),
            ("short", "short"),
            ("x" * 201, "x" * 200 + "... (201 characters)"),
            (b"abc", "<3 bytes>"),
            (list(range(20)), list(range(20))),
            (list(range(25)), [*range(20), "... 5 more"]),
            ({1: {"a": b""}}, {"1": {"a": "<0 bytes>"}}),
            (np.zeros((2, 3), "float32"), "<float32 array [2, 3]>"),
            ([np.array(1)], ["<int64 array []>"]),
            (datetime.datetime(2024, 1, 31, tzinfo=datetime.UTC), "2024-01-31 00:00:00+00:00"),
        ],
    )
    def test_values(self, value, shown):
        assert abbreviate(value) == shown


class TestReport:
    def test_of_a_run_that_succeeded(self, home):
        stored = home.store.put({"parts": [1, 2], "more": "x" * 2000})
        run = Run(plan("a\nb < a", result={"map": {"x": {"from": "a", "at": ["parts"]}, "y": [3]}}), now=100)
        run.now = 150
        run.done("a", stored.hash)
        run.now = 200
        run.done("b", stored.hash)
        found = report("main-1", "succeeded", run.state, home, 999)
        assert (found.run, found.status, found.started_ms, found.wall_ms) == ("main-1", "succeeded", 100, 100)
        assert found.result == {"x": [1, 2], "y": [3]}
        assert [(n.node, n.state, n.attempt, n.wall_ms) for n in found.nodes] == [
            ("a", "succeeded", 1, 50),
            ("b", "succeeded", 1, 50),
        ]
        assert "main-1 succeeded in 0.10 s: 2 nodes, 2 succeeded" in summary(found, home)

    def test_of_a_result_that_is_gone(self, home):
        run = Run(plan("a", result={"from": "a"}))
        run.done("a", "f" * 64)
        assert "cannot be read" in report("main-1", "succeeded", run.state, home, 1).result

    def test_of_a_run_that_goes_on(self, home):
        run = Run("a retries=1 backoff=500\nb\nc < a", now=100)
        run.now = 150
        run.fails("a")
        found = report("main-1", "running", run.state, home, 400)
        assert (found.wall_ms, found.result) == (300, None)
        assert [(n.state, n.wall_ms) for n in found.nodes] == [
            ("pending", 50),
            ("running", 300),
            ("pending", 0),
        ]

    def test_of_a_run_that_was_interrupted(self, home):
        """Nobody executes it: nothing runs, and no time goes by."""
        run = Run("a\nb\nc < a", now=100)
        run.now = 150
        run.done("a")
        found = report("main-1", "interrupted", run.state, home, 99_999_999)
        assert found.wall_ms == 50
        assert [(n.state, n.wall_ms) for n in found.nodes] == [
            ("succeeded", 50),
            ("interrupted", 50),
            ("interrupted", 0),
        ]
        assert [n.state for n in report("main-1", "running", run.state, home, 200).nodes][1:] == [
            "running"
        ] * 2

    def test_of_a_run_that_failed(self, home):
        run = Run("a\nb < a\nc")
        run.fails("a")
        run.done("c")
        found = report("main-1", "failed", run.state, home, 1)
        assert [n.state for n in found.nodes] == ["failed", "blocked", "succeeded"]
        assert found.nodes[1].blocked_by == "a"
        text = details(found, home)
        assert "[FR201] it broke" in text
        assert "3 nodes, 1 failed, 1 blocked, 1 succeeded" in text

    def test_of_one_that_was_resumed(self, home):
        earlier = {"a": Earlier(2, 10, 30, Usage(5, 6), Artifact("a" * 64, 1))}
        run = Run("a\nb < a", earlier=earlier, now=1000)
        found = report("main-1", "running", run.state, home, 1000)
        assert (found.nodes[0].kept, found.nodes[0].wall_ms, found.nodes[0].usage) == (True, 20, Usage(5, 6))
        assert "1 of them kept from before" in details(found, home)


class TestFailures:
    def test_say_where_why_and_how_the_log_ends(self, home):
        run = Run("a/b retries=1 backoff=0\nc", on=host(cpus=8))
        run.fails("a/b")
        run.fails("a/b")
        logs = home.run_folder("main-1") / "logs"
        logs.mkdir(parents=True)
        (logs / "a%b.2.log").write_bytes(
            b"".join(b"2026-11-22T09:11:27.123Z stdout F line %d\n" % n for n in range(20_000))
            + b"2026-11-22T09:11:27.123Z stderr F \xff last\n"
        )
        (problem,) = failures("main-1", run.state, home)
        assert problem.code == "FR201"
        assert problem.message == "node `a/b` failed after 2 attempts: it broke"
        text = render(problem, lambda file, line: "")
        assert "flows.py:1:1: node `a/b`, called here" in text
        assert "| line 19999\n  | \ufffd last" in text
        assert len(text.splitlines()) < 20

    def test_without_a_log(self, home):
        run = Run("a")
        run.fails("a")
        (problem,) = failures("main-1", run.state, home)
        assert problem.notes == ("it printed nothing",)

    def test_only_of_what_failed_for_good(self, home):
        run = Run("a retries=1 backoff=5\nb\nc < b", on=host(cpus=8))
        run.fails("a")
        run.fails("b")
        assert [p.message for p in failures("main-1", run.state, home)] == ["node `b` failed: it broke"]
