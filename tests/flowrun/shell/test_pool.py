"""Workers as real processes: how they end, what they leave, and what becomes of them when the zygote dies.

No compiler here: anything with `fn`, its types, `hints` and `code` is an operator.
"""

import os
import select
import signal
import sys
from pathlib import Path

import psutil
import pytest

from flowrun.core.model import Artifact
from flowrun.shell import zygote
from flowrun.shell.artifacts import Store
from flowrun.shell.forkserver import fork_zygote
from flowrun.shell.messages import Ended, Prepare, Reaped, Spawn, encode, receive_order
from flowrun.shell.pool import Pool

OPERATORS = """
import os, shutil, signal, subprocess, sys
from collections import defaultdict
from flowc.plan.types import ANY

class Operator:
    code, hints, takes, gives = "c0de", {}, defaultdict(lambda: ANY), ANY
    def __init__(self, fn): self.fn = fn

def wait_for_ever(pids=None):
    if pids:
        with open(pids, "w") as file:
            print(os.getpid(), file=file)
    signal.pause()

@Operator
def add(a, b=1): return a + b

@Operator
def talk():
    print("on stdout")
    print("on stderr", file=sys.stderr)
    subprocess.run(["echo", "from a child"])
    os.write(1, b"\\xff\\x00\\n")
    print("the end")

@Operator
def dies(by): os.kill(os.getpid(), by)

@Operator
def exits(status): os._exit(status)

@Operator
def gives_up(): sys.exit("enough")

@Operator
def raises(text): raise ValueError(text)

@Operator
def shuts_up():
    sys.stdout.close()
    return 7

@Operator
def leaves(to):
    os.chdir(to)
    return 7

@Operator
def loses_its_folder(path):
    os.chdir(path)
    os.rmdir(path)
    raise ValueError("lost")

@Operator
def environment(): return {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")}

@Operator
def hangs(pids): wait_for_ever(pids)

@Operator
def has_child(pids, hangs):
    child = subprocess.Popen(["sleep", "600"])
    with open(pids, "w") as file:
        print(child.pid, file=file)
    if hangs:
        wait_for_ever()
    return 7
"""


class Bench:
    """A pool over the operators above, and what a test needs of it."""

    def __init__(self, folder, operators=("ops:add",)):
        (folder / "ops.py").write_text(OPERATORS)
        self.folder = folder
        self.pids = str(folder / "pids")
        os.mkfifo(self.pids)
        # Open at both ends: whoever writes does not wait, and the reader does.
        self._pids = os.fdopen(os.open(self.pids, os.O_RDWR))
        self.store = Store(folder / "artifacts")
        self.pool = Pool(fork_zygote())
        self.pool.prepare(folder, self.store, folder / "zygote.log", operators)

    def spawn(self, op, node="node", attempt=1, gpus=None, **args):
        trees = {name: {"value": value} for name, value in args.items()}
        self.pool.spawn(Spawn(node, attempt, f"ops:{op}", "c0de", trees, self.log(node), 1, gpus))

    def ends(self, count=1):
        """The next attempts to end."""
        found = []
        while len(found) < count:
            ready, _, _ = select.select([self.pool.orders, self.pool.reports], [], [], 20)
            assert ready, "nothing ends"
            found += self.pool.exits()
        return found

    def run(self, op, **args):
        self.spawn(op, **args)
        (ended,) = self.ends()
        return ended

    def value(self, ended):
        assert ended.failure is None, ended.failure
        return self.store.get(ended.artifact.source)

    def log(self, node="node"):
        return str(self.folder / f"{node}.log")

    def pid(self):
        """The next process that an operator writes down."""
        return int(self._pids.readline())

    def zygote(self):
        return self.pool._zygote.pid


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.pool.close()
    bench.pool.wait()


def is_gone(pid):
    """Waits until a process has ended, even if nobody has reaped it yet."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([descriptor], [], [], 10)[0])
    finally:
        os.close(descriptor)


class TestResults:
    def test_a_value(self, bench):
        ended = bench.run("add", a=2, b=3)
        assert bench.value(ended) == 5
        assert (ended.node, ended.attempt) == ("node", 1)

    def test_arguments_from_artifacts_with_paths(self, bench):
        stored = bench.store.put({"parts": [10, 20]})
        trees = {"a": {"artifact": stored.source, "at": ["parts", 1]}, "b": {"value": 1}}
        bench.pool.spawn(Spawn("node", 1, "ops:add", "c0de", trees, bench.log(), 1, None))
        assert bench.value(*bench.ends()) == 21

    def test_many_at_once(self, bench):
        for n in range(30):
            bench.spawn("add", node=f"n{n}", a=n)
        results = {ended.node: bench.value(ended) for ended in bench.ends(30)}
        assert results == {f"n{n}": n + 1 for n in range(30)}

    def test_an_operator_may_close_its_output(self, bench):
        assert bench.value(bench.run("shuts_up")) == 7

    def test_an_operator_may_change_its_folder(self, tmp_path, monkeypatch):
        """The store is named relative to where the run was started."""
        monkeypatch.chdir(tmp_path)
        Path("elsewhere").mkdir()
        bench = Bench(Path())
        assert bench.value(bench.run("leaves", to="elsewhere")) == 7
        bench.pool.close()
        bench.pool.wait()
        assert list(Path("elsewhere").iterdir()) == []


class TestOutput:
    def test_goes_to_the_log_in_order(self, bench):
        bench.run("talk")
        lines = Path(bench.log()).read_bytes().splitlines()
        assert lines == [b"on stdout", b"on stderr", b"from a child", b"\xff\x00", b"the end"]

    def test_of_an_exception_too_with_the_operators_frames_only(self, bench):
        ended = bench.run("raises", text="wrong")
        text = Path(bench.log()).read_text()
        assert ended.failure.code == "FR201"
        assert ended.failure.message == "ValueError: wrong"
        assert "ValueError: wrong" in text
        assert 'ops.py", line' in text
        assert "worker.py" not in text


class TestFailures:
    @pytest.mark.parametrize(
        ("op", "args", "code", "message"),
        [
            ("dies", {"by": signal.SIGUSR1}, "FR202", "its process was killed by SIGUSR1"),
            ("dies", {"by": signal.SIGKILL}, "FR202", "killed by SIGKILL (the kernel does that when memory"),
            ("exits", {"status": 0}, "FR202", "its process exited with status 0 without a result"),
            ("exits", {"status": 3}, "FR202", "its process exited with status 3 without a result"),
            ("gives_up", {}, "FR201", "SystemExit: enough"),
            ("raises", {"text": "\udcff"}, "FR201", r"ValueError: \udcff"),
            ("raises", {"text": "x" * 100_000}, "FR201", "ValueError: xxx"),
            ("raises", {"text": "\U0001f600" * 10_000}, "FR201", "ValueError: \U0001f600"),
            ("add", {"a": "text"}, "FR201", "TypeError"),
            ("missing", {}, "FR206", "`ops:missing` cannot be loaded"),
            ("wait_for_ever", {}, "FR206", "`ops:wait_for_ever` is not an operator"),
        ],
    )
    def test_say_why(self, bench, op, args, code, message):
        # JSON cannot carry a lone surrogate to the worker: it is made there.
        if "\udcff" in args.get("text", ""):
            (bench.folder / "odd.py").write_text(
                "import ops\n@ops.Operator\ndef f(): raise ValueError('\\udcff')"
            )
            bench.pool.spawn(Spawn("node", 1, "odd:f", "c0de", {}, bench.log(), 1, None))
            (ended,) = bench.ends()
        else:
            ended = bench.run(op, **args)
        assert ended.artifact is None
        assert ended.failure.code == code
        assert message in ended.failure.message

    def test_a_changed_operator_is_not_run(self, bench):
        bench.pool.spawn(Spawn("node", 1, "ops:add", "other", {"a": {"value": 1}}, bench.log(), 1, None))
        (ended,) = bench.ends()
        assert (ended.failure.code, "changed" in ended.failure.message) == ("FR206", True)

    def test_even_without_the_folder_that_it_was_in(self, bench):
        (bench.folder / "doomed").mkdir()
        ended = bench.run("loses_its_folder", path=str(bench.folder / "doomed"))
        assert (ended.failure.code, ended.failure.message) == ("FR201", "ValueError: lost")

    def test_a_damaged_argument(self, bench):
        stored = bench.store.put(["x" * 2000])
        bench.store.path(stored.hash).unlink()
        trees = {"a": {"artifact": stored.hash, "at": []}}
        bench.pool.spawn(Spawn("node", 1, "ops:add", "c0de", trees, bench.log(), 1, None))
        (ended,) = bench.ends()
        assert (ended.failure.code, ended.failure.damaged) == ("FR306", stored.hash)


class TestDevices:
    def test_a_host_without_gpus_leaves_the_setting_alone(self, bench):
        found = bench.value(bench.run("environment"))
        assert found == {
            "CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES"),
            "OMP_NUM_THREADS": "1",
        }

    @pytest.mark.parametrize(("gpus", "setting"), [((), ""), ((2,), "2"), ((0, 3), "0,3")])
    def test_a_worker_sees_what_it_holds(self, bench, gpus, setting):
        found = bench.value(bench.run("environment", gpus=gpus))
        assert found["CUDA_VISIBLE_DEVICES"] == setting


class TestKilling:
    def test_gently(self, bench):
        bench.spawn("hangs", pids=bench.pids)
        pid = bench.pid()
        bench.pool.kill("", "node", 1, force=False)
        (ended,) = bench.ends()
        assert "SIGTERM" in ended.failure.message
        assert is_gone(pid)

    def test_at_once_after_the_start(self, bench):
        """A signal that comes before the worker has settled is not lost."""
        for n in range(20):
            bench.spawn("hangs", node=f"n{n}", pids=bench.pids)
            bench.pool.kill("", f"n{n}", 1, force=False)
        assert all("SIGTERM" in ended.failure.message for ended in bench.ends(20))

    @pytest.mark.parametrize("force", [False, True])
    def test_the_whole_group(self, bench, force):
        bench.spawn("has_child", pids=bench.pids, hangs=True)
        child = bench.pid()
        bench.pool.kill("", "node", 1, force)
        bench.ends()
        assert is_gone(child)

    def test_what_an_operator_leaves_behind(self, bench):
        bench.run("has_child", pids=bench.pids, hangs=False)
        assert is_gone(bench.pid())

    def test_who_has_ended_already(self, bench):
        bench.run("add", a=1)
        bench.pool.kill("", "node", 1, force=True)
        assert bench.value(bench.run("add", node="next", a=1)) == 2

    def test_one_attempt_not_the_other(self, bench):
        bench.spawn("hangs", attempt=1, pids=bench.pids)
        bench.pool.kill("", "node", 2, force=True)
        bench.pool.kill("", "other", 1, force=True)
        assert bench.value(bench.run("add", node="next", a=1)) == 2
        bench.pool.kill("", "node", 1, force=True)
        assert bench.ends()[0].node == "node"


class TestZygote:
    def test_when_it_is_killed_what_ran_is_lost_and_all_goes_on(self, bench):
        bench.spawn("hangs", node="a", pids=bench.pids)
        bench.spawn("hangs", node="b", pids=bench.pids)
        workers = [bench.pid(), bench.pid()]
        before = bench.zygote()
        os.kill(before, signal.SIGKILL)
        ended = bench.ends(2)
        assert [(e.node, e.failure.code) for e in ended] == [("a", "FR207"), ("b", "FR207")]
        assert all(is_gone(worker) for worker in workers)
        assert bench.zygote() != before
        assert bench.value(bench.run("add", node="a", attempt=2, a=1)) == 2

    def test_when_it_is_killed_what_operators_started_ends_too(self, bench):
        bench.spawn("has_child", pids=bench.pids, hangs=True)
        child = bench.pid()
        os.kill(bench.zygote(), signal.SIGKILL)
        bench.ends()
        assert is_gone(child)

    def test_when_it_is_killed_before_it_hears_of_a_node(self, bench):
        os.kill(bench.zygote(), signal.SIGSTOP)
        bench.spawn("add", a=1)
        os.kill(bench.zygote(), signal.SIGKILL)
        (ended,) = bench.ends()
        assert ended.failure.code == "FR207"

    def test_a_spawn_after_its_death_is_lost_not_forgotten(self, bench):
        os.kill(bench.zygote(), signal.SIGKILL)
        assert is_gone(bench.zygote())
        bench.spawn("add", a=1)
        (ended,) = bench.ends()
        assert ended.failure.code == "FR207"

    def test_what_it_had_reported_counts(self, bench_of):
        """The result of a node with a GPU waits for its process's end; the zygote's will do."""

        def reports_and_dies(orders, reports):
            order = receive_order(orders)
            reports.send(encode(Ended(order.node, order.attempt, Artifact("a" * 64, 1))))

        bench = bench_of(reports_and_dies)
        bench.spawn("add", gpus=(0,), a=1)
        (ended,) = bench.ends()
        assert (ended.artifact, ended.failure) == (Artifact("a" * 64, 1), None)

    def test_a_gpu_is_free_only_when_the_process_is_gone(self, bench_of):
        def reaps_when_told(orders, reports):
            while (order := receive_order(orders)) is not None:
                if isinstance(order, Spawn):
                    reports.send(encode(Ended(order.node, order.attempt, Artifact("a" * 64, 1))))
                else:
                    reports.send(encode(Reaped(order.node, order.attempt, 0, Ended("", 0).usage)))

        bench = bench_of(reaps_when_told)
        bench.spawn("add", node="on gpu", gpus=(0,), a=1)
        bench.spawn("add", node="on cpu", gpus=(), a=1)
        assert [ended.node for ended in bench.ends()] == ["on cpu"]
        bench.pool.kill("", "on gpu", 1, force=False)
        (ended,) = bench.ends()
        assert (ended.node, ended.artifact) == ("on gpu", Artifact("a" * 64, 1))

    def test_late_and_repeated_reports_are_dropped(self, bench_of):
        def repeats(orders, reports):
            while (order := receive_order(orders)) is not None:
                for report in (
                    Ended("stranger", 1, Artifact("a" * 64, 1)),
                    Ended(order.node, order.attempt, Artifact("b" * 64, 1)),
                    Ended(order.node, order.attempt, Artifact("c" * 64, 1)),
                    Reaped(order.node, order.attempt, 9, Ended("", 0).usage),
                ):
                    reports.send(encode(report))

        bench = bench_of(repeats)
        bench.spawn("add", node="x", a=1)
        bench.spawn("add", node="y", a=1)
        assert [(e.node, e.artifact.hash[0]) for e in bench.ends(2)] == [("x", "b"), ("y", "b")]
        assert bench.pool.exits() == []

    def test_both_sides_may_have_much_to_say_at_once(self, bench_of):
        """More than the sockets hold: if neither listened while it speaks, both would wait for ever."""

        def speaks_first(orders, reports):
            for n in range(5000):
                reports.send(encode(Reaped("stranger", n, 0, Ended("", 0).usage)))
            while (order := receive_order(orders)) is not None:
                reports.send(encode(Ended(order.node, order.attempt, Artifact("a" * 64, len(order.args)))))

        bench = bench_of(speaks_first)
        for n in range(20):
            bench.spawn("add", node=f"n{n}", a="x" * 100_000)
        assert len(bench.ends(20)) == 20

    @pytest.fixture
    def bench_of(self, tmp_path, monkeypatch):
        """A bench whose zygote does as told instead."""
        benches = []

        def make(behaviour):
            def run(orders, reports):
                assert isinstance(receive_order(orders), Prepare)
                behaviour(orders, reports)

            monkeypatch.setattr(zygote, "run", run)
            benches.append(Bench(tmp_path))
            return benches[0]

        yield make
        benches[0].pool.close()
        benches[0].pool.wait()


class TestTheEnd:
    def test_nothing_is_left(self, tmp_path):
        bench = Bench(tmp_path)
        bench.spawn("has_child", pids=bench.pids, hangs=True)
        child = bench.pid()
        family = psutil.Process(bench.zygote()).children(recursive=True)
        assert len(family) >= 2  # the worker, its child, and by now perhaps a worker in reserve
        bench.pool.close()
        bench.pool.wait()
        assert all(is_gone(pid) for pid in [bench.zygote(), child, *(p.pid for p in family)])

    def test_one_that_was_never_needed_is_not_waited_for(self, tmp_path):
        """A run that is refused does not wait until torch has been imported."""
        (tmp_path / "slow.py").write_text("import signal\nsignal.pause()")
        bench = Bench(tmp_path, ["slow:op"])
        bench.pool.close()
        bench.pool.wait()
        assert is_gone(bench.zygote())

    def test_modules_that_do_not_import_are_no_matter_until_they_are_used(self, tmp_path):
        (tmp_path / "broken.py").write_text(
            "import os\nos.write(1, b'importing')\nraise RuntimeError('not today')"
        )
        bench = Bench(tmp_path, ["broken:op", "absent:op", "ops:add"])
        assert bench.value(bench.run("add", a=1)) == 2
        bench.pool.close()
        bench.pool.wait()
        assert "importing" in (tmp_path / "zygote.log").read_text()


def test_the_tests_process_has_not_imported_the_operators(bench):
    bench.run("add", a=1)
    assert "ops" not in sys.modules
