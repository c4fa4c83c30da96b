"""The text format, read strictly: as Prometheus reads it, and as `promtool check metrics` wants it."""

import re

import pytest
from graphs import host, plan

from flowrun.core.changes import Earlier, Exited, Opened
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure, Usage
from flowrun.core.state import State
from flowrun.shell.exporting.prometheus import metrics
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import RunLock
from flowrun.shell.log.runlog import RunLog

PLAN = plan('a op=flows:a"\\\nb < a retries=1 backoff=0\nc')
_SAMPLE = re.compile(r'([a-z_:][a-z0-9_:]*)(?:\{((?:[a-z_]\w*="(?:[^"\\\n]|\\[\\n"])*",?)*)\})? (\S+)\n')


def read(text):
    """Families by name: their kind and samples. Whatever is not as it should be fails."""
    families, current = {}, None
    for line in text.splitlines(keepends=True):
        if line.startswith("# HELP "):
            _, _, name, about = line.split(" ", 3)
            assert name not in families, "a family stands together"
            assert about.strip().endswith(".")
            current = name
            continue
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            assert name == current
            families[name] = (kind, {})
            continue
        found = _SAMPLE.fullmatch(line)
        assert found, line
        name, labels, value = found.groups()
        kind, samples = families[current]
        suffixes = {"histogram": ("_bucket", "_sum", "_count")}.get(kind, ("",))
        assert name.removeprefix(current) in suffixes
        labels = tuple(sorted(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or "")))
        assert (name, labels) not in samples, "a sample stands once"
        samples[name, labels] = float(value)
    for name, (kind, samples) in families.items():
        assert kind in ("counter", "gauge", "histogram")
        assert (kind == "counter") == name.endswith("_total")
        assert not re.search(r"_(ms|mb|milliseconds|minutes)(_|$)", name), "base units"
        assert samples or kind == "histogram"
    return families


@pytest.fixture
def log(tmp_path):
    return RunLog(Home(tmp_path), writable=True)


def play(log, *events, earlier=None):
    run = log.create("main", "p", 1000)
    state = State(PLAN, {})
    position = 0
    for event in (Opened(1000, log.keep_plan(PLAN)[0], {}, host(cpus=1), earlier or {}), *events):
        position = log.append(run, position, [event, *decide(state, event)])
    return run


def test_of_no_runs_all_is_zero(log):
    families = read(metrics(log, 1))
    assert set(families["flowrun_runs"][1].values()) == {0}
    assert families["flowrun_attempts_total"][1] == {
        ("flowrun_attempts_total", (("outcome", "succeeded"),)): 0
    }


def test_what_runs_did_and_what_waits(log):
    play(
        log,
        Exited(1700, "a", 1, Artifact("a", 1), usage=Usage(500)),
        Exited(4000, "b", 1, failure=Failure("FR201", "no")),
        Exited(4100, "b", 2, Artifact("b", 1)),
        Exited(4200, "c", 1, Artifact("c", 1)),
    )
    run = play(log, earlier={"a": Earlier(1, artifact=Artifact("a", 1))})
    lock = RunLock(log.home, run)
    families = read(metrics(log, 9000))

    def value(family, suffix="", **labels):
        return families[family][1][family + suffix, tuple(sorted(labels.items()))]

    assert value("flowrun_runs", state="succeeded") == 1
    assert value("flowrun_runs", state="running") == 1
    assert value("flowrun_nodes", state="running") == 1
    assert value("flowrun_queue_nodes") == 1
    assert value("flowrun_queue_oldest_seconds") == 8
    assert value("flowrun_attempts_total", outcome="succeeded") == 3
    assert value("flowrun_attempts_total", outcome="FR201") == 1
    assert value("flowrun_retries_total") == 1
    assert value("flowrun_cache_hits_total") == 1
    assert value("flowrun_cpu_seconds_total") == 0.5
    assert value("flowrun_attempt_duration_seconds", "_count", operator="flows:b") == 2
    odd = r"flows:a\"\\"
    buckets = [
        value("flowrun_attempt_duration_seconds", "_bucket", operator=odd, le=le)
        for le in ("0.5", "1", "+Inf")
    ]
    assert buckets == [0, 1, 1]
    assert value("flowrun_attempt_duration_seconds", "_sum", operator=odd) == 0.7
    lock.release()
