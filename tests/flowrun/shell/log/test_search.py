"""Searching the runs of a project."""

import pytest

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Finish, Logged, Opened, Point
from flowrun.core.model import Capacity
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.log.search import find, plain, table

HOUR = 3_600_000


@pytest.fixture
def log(tmp_path):
    """Three runs, one an hour, of the rates 0.1, 0.2, 0.3. The last was interrupted."""
    log = RunLog(Home(tmp_path), writable=True)
    for n in (1, 2, 3):
        run = log.create("main", "plans/main.plan.jsonl", n * HOUR)
        changes = [
            Opened(n * HOUR, "p", {"lr": n / 10}, Capacity(1, 1)),
            Logged(n * HOUR, "train", 1, (Point("accuracy", 1 - n / 10, -1, 1),)),
        ]
        log.append(run, 0, [*changes, *([Finish(n * HOUR + 60_000, "succeeded")] if n < 3 else [])])
    log.tag("main-2", {"team": "ads"}, 1)
    return log


def found(log, where="", order="", limit=0):
    return [facts.number for facts in find(log, where, order, limit, 4 * HOUR).runs]


def test_searching(log):
    assert found(log) == [1, 2, 3]
    assert found(log, "state=interrupted") == [3]
    assert found(log, "input.lr>=0.2 and metric.accuracy>0.75") == [2]
    assert found(log, "tag.team=ads") == [2]
    assert found(log, "started>-90m") == [3]
    assert found(log, "started<1970-01-01T01:30:00+00:00") == [1]
    assert found(log, "took=1min") == [1, 2]


def test_order_and_limit(log):
    assert found(log, order="metric.accuracy") == [3, 2, 1]
    assert found(log, order="-metric.accuracy", limit=2) == [1, 2]
    assert found(log, limit=2) == [2, 3]  # the latest


def test_a_table_has_a_column_for_what_was_asked_about(log):
    lines = table(find(log, "tag.team!=core and metric.accuracy>0", "-input.lr", 2, 4 * HOUR)).splitlines()
    assert lines[0].split() == [
        "run",
        "status",
        "started",
        "took",
        "metric.accuracy",
        "input.lr",
        "tags",
        "plan",
    ]
    assert lines[2].split() == ["main-2", "succeeded", *lines[2].split()[2:4], "60.00", "s", "0.8", "0.2",
                                "team=ads", "plans/main.plan.jsonl"]  # fmt: skip
    assert lines[3] == "... 1 more run: a larger `--limit` shows them"


def test_for_machines(log):
    (row,) = plain(find(log, "number=2", "", 0, 4 * HOUR))
    assert (row["run"], row["status"], row["inputs"], row["metrics"], row["tags"]) == (
        "main-2", "succeeded", {"lr": 0.2}, {"accuracy": 0.8}, {"team": "ads"}
    )  # fmt: skip


@pytest.mark.parametrize(
    ("where", "order"), [("state=faild", ""), ("", "accuracy"), ("started>2026-13-01", "")]
)
def test_what_cannot_be_understood_is_refused(log, where, order):
    with pytest.raises(Refused, match="FR154"):
        find(log, where, order, 0, 0)
