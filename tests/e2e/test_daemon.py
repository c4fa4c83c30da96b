"""Many runs of many teams in one daemon: shares, preemption, crashes, and what people do wrong."""

import contextlib
import json
import os
import signal
import socket
import stat

import psutil
import pytest
from project import Project, end_all, follow, is_gone

from flowrun.service.runs import LARGE

# What a run does: `short` parts; or the first of them is a `long` one that goes on until there is a file
# `open`, and writes down how often it was asked to end. All parts wait for that at the `gate`.
FLOW = """
from pathlib import Path
from flowc import scratch, stopping

@operator
def begin(kind: str, of: str) -> str:
    note(f"begin-{of}")
    return kind

@operator
def part(kind: str, n: int, of: str) -> int:
    kept = scratch() / "asked"
    asked = int(kept.read_text()) if kept.exists() else 0
    note(f"part-{of}-{n}")
    if kind == "fails":
        raise ValueError("it fails")
    if kind == "long":
        stopping()
    if kind == "deaf":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if kind == "gate" or kind != "short" and n == 0:
        if n == 0:
            tell(f"{kind} {of} asked {asked}")
        while not (project() / "open").exists():
            if kind == "long" and stopping():
                kept.write_text(str(asked + 1))
                sys.exit("to be continued")
            signal.sigtimedwait([signal.SIGUSR1], 0.02)
    return n

@operator
def end(parts: list[int], of: str) -> int:
    note(f"end-{of}")
    return sum(parts)

@workflow
def main(kind: str = "short", of: str = "x"):
    begun = begin(kind, of)
    return end([part(begun, n, of) for n in range(PARTS)], of)
"""
TEAMS = """
[teams.vision]
[teams.speech]
[preemption]
run_at_least_s = 0
notice_s = 20
"""


def make(folder, parts=1, cpus=1, teams=TEAMS):
    project = Project(folder, FLOW.replace("PARTS", str(parts)))
    (folder / "host.toml").write_text(f"cpus = {cpus}\nmemory_mb = 8000\n")
    (folder / "teams.toml").write_text(teams)
    return project


@pytest.fixture
def one_cpu(tmp_path):
    project = make(tmp_path)
    yield project
    end_all(project)


@pytest.fixture
def wide(tmp_path):
    project = make(tmp_path, parts=24, cpus=4)
    yield project
    end_all(project)


def start(project):
    return project.daemon("--teams", "teams.toml", "--devices", "host.toml")


def kind(name, of="x"):
    return ("-i", f"kind={name}", "-i", f"of={of}")


def node(project, run, name):
    return next(node for node in project.json("show", run)["nodes"] if node["node"] == name)


def state(project, run):
    return project.json("show", run)["status"]


class TestSubmit:
    def test_and_wait_for_the_result(self, one_cpu):
        start(one_cpu)
        done = one_cpu.submit("--team", "vision", "--wait")
        assert "main-1: 3 nodes, for team `vision` in tier 3" in done.stdout
        assert "main-1 succeeded" in done.stdout
        assert state(one_cpu, "main-1") == "succeeded"

    def test_and_wait_for_a_failure(self, one_cpu):
        start(one_cpu)
        done = one_cpu.submit("--team", "vision", "--wait", *kind("fails"), status=1)
        assert "error[FR201]" in done.stderr
        assert (
            "go on with `flowrun submit plans/main.plan.jsonl --resume main-1 --team vision`" in done.stderr
        )

    def test_again_with_what_is_done(self, one_cpu):
        start(one_cpu)
        one_cpu.submit("--team", "vision", "--wait", *kind("fails"), status=1)
        again = one_cpu.submit("--team", "vision", "--resume", "main-1", "--wait", "-i", "kind=short")
        assert "main-1 succeeded" in again.stdout
        assert len(one_cpu.json("runs")) == 1

    def test_what_was_edited_meanwhile_runs_as_it_is_now(self, one_cpu):
        """The daemon's workers have imported the old code."""
        start(one_cpu)
        one_cpu.submit("--team", "vision", "--wait")
        one_cpu.write(FLOW.replace("PARTS", "1").replace("return sum(parts)", "return 7"))
        one_cpu.compile()
        done = one_cpu.submit("--team", "vision", "--wait")
        assert "result\n  7\n" in done.stdout

    def test_for_machines(self, one_cpu):
        start(one_cpu)
        said = json.loads(one_cpu.submit("--team", "speech", "--tier", "2", "--json").stdout)
        assert said == {"run": "main-1", "nodes": 3, "team": "speech", "tier": 2, "kept": 0}


class TestLargePlan:
    """More than the daemon reads itself: another process does."""

    @pytest.fixture
    def large(self, tmp_path):
        project = make(tmp_path, parts=3000)
        assert (tmp_path / project.plan).stat().st_size > LARGE
        yield project
        end_all(project)

    def test_is_queued_while_others_go_on(self, large):
        start(large)
        large.submit("--team", "vision", *kind("long"))
        assert large.told() == "long x asked 0"
        assert "main-2: 3002 nodes" in large.submit("--team", "speech").stdout
        assert large.json("queue")["count"] == 3000
        large.flowrun("cancel", "main-2")
        assert follow(large, "main-2") == "cancelled"

    def test_goes_on_where_it_was(self, large):
        start(large)
        large.submit("--team", "vision", *kind("long"))
        assert large.told() == "long x asked 0"
        large.flowrun("cancel", "main-1")
        assert follow(large, "main-1") == "cancelled"
        again = large.submit("--team", "vision", "--resume", "main-1").stdout
        assert "main-1: 3002 nodes, 1 result kept" in again
        assert "error[FR303]" in large.submit("--team", "vision", "--resume", "main-1", status=1).stderr

    def test_is_refused_as_any_other(self, large):
        start(large)
        path = large.folder / large.plan
        rows = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(b"".join([*rows[:2000], b'{"kind":"nothing"}\n', *rows[2000:]]))
        refused = large.submit("--team", "vision", status=1).stderr
        assert "error[FC203]" in refused
        assert "main.plan.jsonl:2001" in refused
        assert large.json("runs") == []


class TestShares:
    def compete(self, project):
        """When parts of vision and of speech started and ended, after vision had all of the host."""
        start(project)
        project.submit("--team", "vision", "--no-cache", *kind("gate"))
        project.told()
        project.submit("--team", "speech", "--no-cache")
        (project.folder / "open").touch()
        assert [follow(project, run) for run in ("main-1", "main-2")] == ["succeeded"] * 2
        vision, speech = (
            sorted(
                (node["started_ms"], node["started_ms"] + node.get("wall_ms", 0))
                for node in project.json("show", run)["nodes"]
                if node["node"].startswith("part")
            )
            for run in ("main-1", "main-2")
        )
        return vision[4:], speech

    def most(self, of, others):
        """The most parts of a team that ran at a time, when another one was still waiting for a place."""
        starts = [start for start, _ in of if start < others[-1][0]]
        return max(sum(a <= start < b for a, b in of) for start in starts)

    def test_are_equal_if_nothing_else_is_said(self, wide):
        vision, speech = self.compete(wide)
        assert self.most(speech, vision) == 2

    def test_are_as_configured(self, wide):
        """Nine of ten parts are vision's: three of the four CPUs, as speech is not left without."""
        (wide.folder / "teams.toml").write_text("[teams.vision]\nweight = 9\n[teams.speech]\n")
        vision, speech = self.compete(wide)
        assert self.most(speech, vision) == 1


class TestPreemption:
    def test_the_first_tier_gets_the_place_and_the_other_goes_on_where_it_was(self, one_cpu):
        daemon = start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("long"))
        assert one_cpu.told() == "long x asked 0"
        done = one_cpu.submit("--team", "speech", "--tier", "1", "--wait", *kind("short", "y"))
        assert "main-2 succeeded" in done.stdout
        assert daemon.until("preempted").strip() == "main-1/part[0]: preempted for `main-2/begun`"
        assert one_cpu.told() == "long x asked 1"
        waiting = node(one_cpu, "main-1", "part[0]")
        assert (waiting["attempt"], waiting["preemptions"]) == (2, 1)
        assert "2 (1 preempted)" in one_cpu.flowrun("show", "main-1").stdout
        assert (one_cpu.folder / ".flow/runs/main-1/scratch").exists()
        (one_cpu.folder / "open").touch()
        assert follow(one_cpu, "main-1") == "succeeded"
        assert not (one_cpu.folder / ".flow/runs/main-1/scratch").exists()

    def test_what_does_not_listen_is_ended_by_force(self, tmp_path):
        project = make(tmp_path, teams=TEAMS.replace("20", "0.2"))
        try:
            start(project)
            project.submit("--team", "vision", *kind("deaf"))
            assert project.told() == "deaf x asked 0"
            project.submit("--team", "speech", "--tier", "1", "--wait", *kind("short", "y"))
            assert project.told() == "deaf x asked 0"
            assert node(project, "main-1", "part[0]")["preemptions"] == 1
        finally:
            end_all(project)


class TestEnds:
    def test_kill_9_loses_nothing(self, wide):
        daemon = start(wide)
        wide.submit("--team", "vision", *kind("long", "v"))
        wide.told()
        wide.submit("--team", "speech", *kind("long", "s"), "--priority", "5")
        wide.told()
        workers = psutil.Process(daemon.process.pid).children(recursive=True)
        daemon.process.kill()
        daemon.end()
        assert all(is_gone(worker.pid) for worker in workers)
        assert [row["status"] for row in wide.json("runs")] == ["interrupted"] * 2
        assert "error[FR141]" in wide.flowrun("queue", status=1).stderr

        (wide.folder / "open").touch()
        done = {run: done_nodes(wide, run) for run in ("main-1", "main-2")}
        again = start(wide)
        again.until("main-2:", "kept,")
        assert [follow(wide, run) for run in done] == ["succeeded"] * 2
        kept = {run: {n["node"] for n in wide.json("show", run)["nodes"] if n.get("kept")} for run in done}
        assert kept == done

    def test_a_signal_lets_what_runs_end_and_starts_nothing(self, one_cpu):
        daemon = start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("long"))
        one_cpu.told()
        daemon.signal(signal.SIGTERM)
        daemon.until("ending:", "nothing", "starts")
        assert "error[FR147]" in one_cpu.submit("--team", "vision", status=1).stderr
        (one_cpu.folder / "open").touch()
        status, out, _ = daemon.end()
        assert (status, "1 run will go on" in out) == (0, True)
        assert one_cpu.ran()["end-x"] == 0
        start(one_cpu).until("main-1:", "kept,")
        assert follow(one_cpu, "main-1") == "succeeded"
        assert one_cpu.ran() == {"begin-x": 1, "part-x-0": 1, "end-x": 1}

    def test_after_the_grace_what_runs_writes_down_where_it_is(self, one_cpu):
        daemon = one_cpu.daemon("--teams", "teams.toml", "--devices", "host.toml", "--grace", "0")
        one_cpu.submit("--team", "vision", *kind("long"))
        one_cpu.told()
        daemon.signal(signal.SIGTERM)
        assert daemon.end()[0] == 0
        start(one_cpu)
        assert one_cpu.told() == "long x asked 1"

    def test_a_second_signal_ends_all_at_once(self, one_cpu):
        daemon = start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("deaf"))
        one_cpu.told()
        daemon.signal(signal.SIGINT)
        daemon.until("ending:")
        daemon.signal(signal.SIGINT)
        assert daemon.end()[0] == 0
        assert one_cpu.processes() == []
        assert [row["status"] for row in one_cpu.json("runs")] == ["interrupted"]

    def test_what_the_next_configuration_cannot_run_stays(self, one_cpu):
        daemon = start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("long"))
        one_cpu.told()
        daemon.process.kill()
        daemon.end()
        (one_cpu.folder / "teams.toml").write_text("[teams.speech]\n")
        again = start(one_cpu)
        again.until("main-1", "cannot")
        again.signal(signal.SIGTERM)
        assert "error[FR142]" in again.end()[2]
        assert [row["status"] for row in one_cpu.json("runs")] == ["interrupted"]


def done_nodes(project, run):
    return {node["node"] for node in project.json("show", run)["nodes"] if node["state"] == "succeeded"}


class TestTables:
    def test_what_waits_and_what_runs(self, one_cpu):
        start(one_cpu)
        assert one_cpu.flowrun("queue").stdout == "nothing waits\n\nnothing runs\n"
        one_cpu.submit("--team", "vision", *kind("long"))
        one_cpu.told()
        one_cpu.submit("--team", "speech", "--priority", "3")
        table = one_cpu.json("queue")
        assert [row["task"] for row in table["running"]] == ["main-1/part[0]"]
        (waits,) = table["waiting"]
        assert (waits["task"], waits["team"], waits["tier"], waits["priority"]) == (
            "main-2/begun",
            "speech",
            3,
            3.0,
        )
        assert waits["waits_for"] == "cpus: needs 1, has 0; `main-1/part[0]` of team `vision` holds 1"
        assert "main-2/begun" in one_cpu.flowrun("queue").stdout

    def test_why_names_what_other_runs_hold(self, one_cpu):
        daemon = start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("long"))
        one_cpu.told()
        one_cpu.submit("--team", "speech")
        held = "cpus: needs 1, has 0; `main-1/part[0]` of team `vision` holds 1"
        assert held in one_cpu.flowrun("why", "main-2", "begun").stdout
        daemon.process.kill()
        daemon.end()
        assert held in one_cpu.flowrun("why", "main-2", "begun").stdout
        (one_cpu.folder / "open").touch()
        start(one_cpu).until("main-2:")  # it goes on with both
        assert [follow(one_cpu, run) for run in ("main-1", "main-2")] == ["succeeded"] * 2
        assert "of team `vision` holds 1" in one_cpu.flowrun("why", "main-2", "begun").stdout

    def test_teams(self, one_cpu):
        start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("long"))
        one_cpu.told()
        vision, speech = one_cpu.json("teams")
        assert (vision["team"], vision["running"], vision["used"]["cpus"]) == ("vision", 1, 1.0)
        assert vision["finish_time_mean"] is not None  # `begin` has ended
        assert (speech["running"], speech["guaranteed"]["cpus"]) == (0, 0.5)
        assert one_cpu.flowrun("teams").stdout.startswith("team")

    def test_a_configuration_is_checked_without_a_daemon(self, one_cpu):
        said = one_cpu.flowrun("teams", "teams.toml", "--devices", "host.toml").stdout
        assert "vision" in said


class TestCancel:
    def test_what_runs_and_what_waits(self, one_cpu):
        start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("long"))
        one_cpu.told()
        one_cpu.submit("--team", "vision")
        assert one_cpu.flowrun("cancel", "main-2").stdout == "main-2: cancelled\n"
        assert "1 node is asked to end" in one_cpu.flowrun("cancel", "main-1").stdout
        assert follow(one_cpu, "main-1") == "cancelled"
        assert "error[FR146]" in one_cpu.flowrun("cancel", "main-1", status=1).stderr

    def test_twice_at_once(self, one_cpu):
        start(one_cpu)
        one_cpu.submit("--team", "vision", *kind("deaf"))
        one_cpu.told()
        one_cpu.flowrun("cancel", "main-1")
        assert "made to end" in one_cpu.flowrun("cancel", "main-1").stdout
        assert follow(one_cpu, "main-1") == "cancelled"

    def test_of_a_run_that_somebody_else_executes(self, one_cpu):
        start(one_cpu)
        alone = one_cpu.start(*kind("long"))
        one_cpu.told()
        assert f"process {alone.process.pid} is asked" in one_cpu.flowrun("cancel", "main-1").stdout
        assert alone.end()[0] == 130


class TestWrongMoves:
    def test_no_daemon(self, one_cpu):
        for words in (["queue"], ["teams"], ["submit", one_cpu.plan]):
            assert "error[FR141]" in one_cpu.flowrun(*words, status=1).stderr

    def test_two_daemons(self, one_cpu):
        first = start(one_cpu)
        refused = one_cpu.flowrun("daemon", status=1).stderr
        assert f"error[FR140]: a daemon (process {first.process.pid}) has the state folder" in refused
        one_cpu.flowrun("queue")

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            ((), "error[FR142]: it is not said for which team"),
            (("--team", "visoin"), "did you mean `vision`?"),
            (("--team", "vision", "--tier", "9"), "error[FR144]"),
            (("--team", "vision", "--priority", "1001"), "error[FR144]"),
            (("--team", "vision", "-i", "kind"), "error[FR104]"),
            (("--team", "vision", "-i", "what=7"), "error[FR102]"),
            (("--team", "vision", "--resume", "main-9"), "error[FR301]"),
        ],
    )
    def test_nothing_is_queued(self, one_cpu, words, said):
        start(one_cpu)
        assert said in one_cpu.submit(*words, status=1).stderr
        assert one_cpu.json("runs") == []

    def test_more_than_may_wait(self, tmp_path):
        project = make(tmp_path, teams="[teams.vision]\nqueue = 3\n")
        try:
            start(project)
            project.submit("--team", "vision", *kind("long"))
            project.told()
            refused = project.submit("--team", "vision", status=1).stderr
            assert "error[FR143]: the queue of team `vision` has room for 3 nodes: 1 node waits" in refused
            assert len(project.json("runs")) == 1
            (project.folder / "open").touch()
        finally:
            end_all(project)

    def test_a_plan_of_somewhere_else(self, one_cpu, tmp_path_factory):
        start(one_cpu)
        other = tmp_path_factory.mktemp("other") / "main.plan.jsonl"
        other.write_bytes((one_cpu.folder / one_cpu.plan).read_bytes())
        refused = one_cpu.flowrun("submit", str(other), "--team", "vision", status=1).stderr
        assert "error[FR145]" in refused
        (one_cpu.folder / "link.jsonl").symlink_to(other)
        assert "error[FR145]" in one_cpu.flowrun("submit", "link.jsonl", status=1).stderr
        assert "error[FR145]" in one_cpu.flowrun("submit", "told", "--team", "vision", status=1).stderr

    def test_something_that_is_no_request(self, one_cpu):
        start(one_cpu)
        with ask(one_cpu) as asking:
            for wrong in (
                b"hello",
                b"{}",
                b'{"request":"submit","plan":7}',
                b'{"request":"submit"}',
                b"\xff\n",
            ):
                asking.send(wrong + b"\n")
                assert "FR148" in asking.read()
        with ask(one_cpu) as asking, contextlib.suppress(OSError):
            asking.send(b"x" * (2 << 20))
        with ask(one_cpu) as asking:
            asking.send(b'{"request":"que')
        one_cpu.flowrun("queue")

    def test_only_its_owner_can_talk_to_it(self, one_cpu):
        start(one_cpu)
        mode = (one_cpu.folder / ".flow/daemon.sock").stat().st_mode
        assert stat.S_ISSOCK(mode)
        assert stat.S_IMODE(mode) == 0o600

    def test_a_very_long_path_of_the_state_folder(self, one_cpu):
        deep = "/".join(["d" * 60] * 3)
        one_cpu.daemon("--state", deep)
        assert "main-1 succeeded" in one_cpu.submit("--state", deep, "--wait").stdout


class Asking:
    def __init__(self, folder):
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(20)
        before = os.getcwd()
        os.chdir(folder)
        try:
            self._socket.connect("daemon.sock")
        finally:
            os.chdir(before)
        self._answers = self._socket.makefile("r")

    def send(self, data):
        self._socket.sendall(data)

    def read(self):
        return self._answers.readline()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._answers.close()
        self._socket.close()


def ask(project):
    return Asking(project.folder / ".flow")
