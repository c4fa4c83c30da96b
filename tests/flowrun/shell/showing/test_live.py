"""The live view: what it shows, that it fits, that its cost does not grow with the plan."""

import pytest
from graphs import host, plan

from flowrun.core.changes import Exited, Finish, Opened
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure
from flowrun.core.progress import Progress
from flowrun.core.state import State
from flowrun.shell.showing.live import frame, sentence
from flowrun.shell.showing.watchers import FEW, MOST_PROBLEMS, PlainWatcher


def begun(count=2000, gpus=2):
    rows = ["load estimate=1000"]
    rows += [f"clean[{i}] < load estimate=1000" for i in range(count)]
    rows += [f"train/fit[{i}] < clean[{i}] gpus=1 gpu_memory=4000 estimate=5000" for i in range(count)]
    state = State(plan("\n".join(rows)), {})
    opened = Opened(0, "p", {}, host(cpus=8, gpus=[8000] * gpus))
    progress, history = None, []
    for event in (
        opened,
        Exited(1000, "load", 1, Artifact("a", 1)),
        *(Exited(2000, f"clean[{i}]", 1, Artifact("a", 1)) for i in range(3)),
        Exited(2500, "clean[3]", 1, failure=Failure("FR201", "ValueError: no \x1b[31m\nmore")),
    ):
        changes = [event, *decide(state, event)]
        progress = progress or Progress(state)
        progress.see(state, changes)
        history.append(changes)
    return state, progress, history


def lines(cells=100, height=40, **settings):
    state, progress, _ = begun(**settings)
    return frame("main-7", state, progress, 3000, cells, height).plain.splitlines()


def test_what_it_shows():
    text = "\n".join(lines())
    assert "main-7  █" in text
    assert "4 of 4,001 nodes  3.00 s, about" in text
    assert "level 2 of 3, 8 running, " in text
    assert ", 1 failed, 1 blocked" in text
    assert "CPUs  ██████████ 8 of 8" in text
    assert "2 GPUs are idle" in text
    assert "sites: 1 finished" in text
    assert "clean[4]  of about 1.00 s" in text
    assert r"failed clean[3]  [FR201] ValueError: no \x1b[31m" in text


def test_an_alert_stands_above_all():
    state, progress, _ = begun()
    picture = frame("main-7", state, progress, 3000, 60, 12, "the run log cannot be written").plain
    assert picture.splitlines()[0] == "the run log cannot be written"
    assert len(picture.splitlines()) < 12


def test_what_is_on_a_gpu():
    text = "\n".join(lines(count=4))
    assert "GPU 0 ██████████  7.812 GB of 7.812 GB  train/fit[0], train/fit[1]" in text
    assert "GPU 1 █████·····  3.906 GB of 7.812 GB  train/fit[2]" in text


@pytest.mark.parametrize(("cells", "height"), [(40, 8), (80, 24), (100, 40), (300, 100)])
def test_it_fits(cells, height):
    found = lines(cells, height, gpus=32)
    assert len(found) < height
    assert max(map(len, found)) < cells


def test_a_look_costs_as_much_whatever_the_size_of_the_plan(monkeypatch):
    """Counted, not timed: no frame goes through the nodes or the sites."""

    class Watched(list):
        def __iter__(self):
            raise AssertionError("all nodes were looked at")

    state, progress, _ = begun()
    frame("main-7", state, progress, 3000, 100, 40)  # the longest ways are computed once
    state.tasks = Watched(state.tasks)
    progress._sites = Watched(progress._sites)
    frame("main-7", state, progress, 3000, 100, 40)


def test_a_sentence():
    state, progress, _ = begun()
    said = sentence(state, progress, 3000)
    assert said.startswith("4 of 4,001 nodes done, 1 failed, 1 blocked, 8 running, ")
    assert " left" in said


def test_plain_lines_of_very_many_nodes_are_few(monkeypatch, capsys):
    now = 10.0
    monkeypatch.setattr("flowrun.shell.showing.watchers.now_ms", lambda: round(now * 1000))
    state, _, history = begun()
    assert len(state.tasks) > FEW
    watcher = PlainWatcher()
    for changes in history:
        watcher.see(state, changes)
    for _ in range(1000):
        now += 0.01
        watcher.tick(state)
    watcher.see(state, [Finish(20_000, "failed")])
    said = capsys.readouterr().out.splitlines()
    assert sum("nodes done" in line for line in said) in range(9, 13)
    assert [line.split() for line in said if "nodes done" not in line] == [
        ["2.50", "s", "failed", "clean[3]", "ValueError:", "no", r"\x1b[31m"]
    ]


def test_only_so_many_lines_about_what_went_wrong(capsys):
    state, _, _ = begun()
    watcher = PlainWatcher()
    failures = [Exited(3000, f"clean[{i}]", 1, failure=Failure("FR201", "no")) for i in range(4, 1000)]
    watcher.see(state, failures)
    assert sum("failed clean" in line for line in capsys.readouterr().out.splitlines()) == MOST_PROBLEMS
