"""Showing a run while it goes on."""

import io
import json
import os
import sys

import pytest
from graphs import Run, host

from flowrun.core.changes import CancelRequested, Exited, Finish, Opened, Retry, Start, Woke
from flowrun.core.model import Artifact, Failure, Placement
from flowrun.shell.showing.watchers import FEW, JsonWatcher, LiveWatcher, PlainWatcher

CHANGES = [
    Opened(1000, "p", {}, host()),
    Start(1000, "load", 1, Placement(1), "k"),
    Start(1000, "tree[a]", 1, Placement(1), "k"),
    Exited(2500, "load", 1, Artifact("a" * 64, 3)),
    Exited(3000, "tree[a]", 1, failure=Failure("FR201", "ValueError: no\nsecond line")),
    Retry(3000, "tree[a]", 4000),
    Woke(4000),
]


@pytest.fixture
def state():
    return Run("load\ntree[a]", now=1000).state


def test_plain_lines(state, capsys):
    PlainWatcher().see(state, CHANGES)
    assert capsys.readouterr().out.splitlines() == [
        "   0.00 s  start  load",
        "   0.00 s  start  tree[a]",
        "   1.50 s  done   load        1.50 s",
        "   2.00 s  failed tree[a]  ValueError: no",
        "   2.00 s  retry  tree[a]  in 1.00 s",
    ]


@pytest.mark.parametrize("nodes", [2, FEW + 1])
def test_who_cancels_is_told_what_comes_and_what_another_time_does(nodes, capsys):
    state = Run("\n".join(f"n{i}" for i in range(nodes)), now=1000).state
    watcher = PlainWatcher()
    for at_ms in 2500, 2700:
        state.apply(CancelRequested(at_ms))
        watcher.see(state, [CancelRequested(at_ms)])
    notes = [line for line in capsys.readouterr().out.splitlines() if " note " in line]
    assert notes == [
        "   1.50 s  note   cancelled: what runs is asked to end, and made to 5 s later; again: at once",
        "   1.70 s  note   cancelled: what runs is ended at once",
    ]


def test_json_lines_are_rows_of_the_log(state, capsys):
    JsonWatcher().see(state, CHANGES)
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["change"] for row in rows] == [
        "opened",
        "start",
        "start",
        "exited",
        "exited",
        "retry",
        "woke",
    ]
    assert rows[4]["failure"]["message"] == "ValueError: no\nsecond line"


@pytest.mark.parametrize("watcher", [PlainWatcher(), JsonWatcher()])
def test_while_nothing_happens_nothing_is_printed(watcher, state, capsys):
    watcher.tick(state)
    watcher.see(state, [])
    assert capsys.readouterr().out == ""


def test_the_live_view_lists_what_runs_and_how_far_the_run_is(state, monkeypatch):
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    console = Console(file=screen, force_terminal=True, width=80)
    monkeypatch.setattr("rich.get_console", lambda: console)
    monkeypatch.setattr("rich.live.get_console", lambda: console)
    watcher = LiveWatcher()
    watcher.see(state, CHANGES[:3])
    watcher.tick(state)
    assert "tree[a]" in screen.getvalue()
    assert "0 of 2 nodes" in screen.getvalue()
    state.status = "succeeded"
    watcher.see(state, CHANGES[3:4])
    assert "done   load" in screen.getvalue()


def test_the_live_view_has_a_line_while_the_log_cannot_be_written(state, monkeypatch):
    from rich.console import Console

    screen = io.StringIO()
    monkeypatch.setenv("TERM", "xterm-256color")
    console = Console(file=screen, force_terminal=True, width=100)
    monkeypatch.setattr("rich.get_console", lambda: console)
    monkeypatch.setattr("rich.live.get_console", lambda: console)
    watcher = LiveWatcher()
    watcher.see(state, CHANGES[:3])
    for outage, shown in (("database is locked", True), ("", False)):
        watcher.suffer(outage)
        screen.truncate(0)
        watcher._next_s = 0.0
        watcher.tick(state)
        assert ("cannot be written for 0 s: database is locked; nothing starts" in screen.getvalue()) is shown


def test_a_terminal_that_goes_away_is_no_error(state, monkeypatch):
    from rich.console import Console

    master, slave = os.openpty()
    monkeypatch.setenv("TERM", "xterm-256color")
    with os.fdopen(slave, "w") as terminal:
        monkeypatch.setattr(sys, "stdout", terminal)
        console = Console(force_terminal=True, width=100)
        monkeypatch.setattr("rich.get_console", lambda: console)
        monkeypatch.setattr("rich.live.get_console", lambda: console)
        watcher = LiveWatcher()
        watcher.see(state, CHANGES[:2])
        os.close(master)
        for change in CHANGES[2:]:
            watcher._next_s = 0.0
            watcher.see(state, [change])
        assert os.readlink(f"/proc/self/fd/{slave}") == "/dev/null"
        watcher.see(state, [Finish(5000, "failed")])
