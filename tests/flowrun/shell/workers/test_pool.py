"""Workers as real processes: how they end, what they leave, and what becomes of them when a zygote dies.

No compiler here: anything with `fn`, its types, `hints` and `code` is an operator.
"""

import os
import select
import signal
import sys
import time

import psutil
import pytest

from flowrun.shell.readiness import Readiness
from flowrun.shell.store.artifacts import Store
from flowrun.shell.workers.descendants import descendants
from flowrun.shell.workers.forkserver import fork_zygote, start_zygote
from flowrun.shell.workers.messages import Spawn
from flowrun.shell.workers.output import text_of
from flowrun.shell.workers.pool import Pool

OPERATORS = """
import os, random, shutil, signal, subprocess, sys, threading, time
from collections import defaultdict
from flowc.plan.types import ANY

class Operator:
    code, hints, takes, gives = "c0de", {}, defaultdict(lambda: ANY), ANY
    def __init__(self, fn): self.fn = fn

def say(pids, pid):
    with open(pids, "w") as file:
        print(pid, file=file)

def wait_for_ever(pids=None):
    if pids:
        say(pids, os.getpid())
    signal.pause()

@Operator
def add(a, b=1): return a + b

@Operator
def pid(): return os.getpid()

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
def loses_its_folder():
    os.rmdir(os.getcwd())
    raise ValueError("lost")

@Operator
def environment(): return {name: os.environ.get(name) for name in ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")}

@Operator
def hangs(pids): wait_for_ever(pids)

@Operator
def has_child(pids, hangs):
    child = subprocess.Popen(["sleep", "600"])
    say(pids, child.pid)
    if hangs:
        wait_for_ever()
    return 7

@Operator
def lets_escape(pids, hangs):
    \"\"\"A daemon, as daemons are made: forked twice, in a session of its own.\"\"\"
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            say(pids, os.getpid())
            os.write(tell, b"said")
            time.sleep(600)
        os._exit(0)
    os.wait()
    os.read(told, 4)
    if hangs:
        wait_for_ever()
    return 7

@Operator
def forks_and_forgets():
    os.fork()
    return os.getpid()

@Operator
def changes(what):
    exec(what)
    return os.getpid()

@Operator
def looks(at): return repr(eval(at))
"""


IMPORTS = ("json", "heavy", "light", "deadly")


class Bench:
    """A pool over the operators above, and what a test needs of it."""

    def __init__(self, folder, operators=("ops:add",), start=fork_zygote):
        (folder / "ops.py").write_text(OPERATORS)
        self.folder = folder
        self.pids = str(folder / "pids")
        os.mkfifo(self.pids)
        # Open at both ends: whoever writes does not wait, and the reader does.
        self._pids = os.fdopen(os.open(self.pids, os.O_RDWR))
        self.store = Store(folder / "artifacts")
        self._readiness = Readiness()
        self.pool = Pool(start(), self._readiness)
        self.pool.prepare(
            folder,
            folder,
            folder / "zygote.log",
            lambda run, node, n: folder / f"{node}.log",
            dict.fromkeys(operators, IMPORTS),
        )

    def spawn(self, op, node="node", attempt=1, gpus=None, isolation="warm", imports=(), cpus=1, **args):
        trees = {name: {"value": value} for name, value in args.items()}
        reference = op if ":" in op else f"ops:{op}"
        order = Spawn(node, attempt, reference, "c0de", trees, cpus, gpus, imports, isolation=isolation)
        self.pool.spawn(order)

    def ends(self, count=1):
        """The next attempts to end."""
        found, deadline = [], time.monotonic() + 20
        while len(found) < count:
            assert time.monotonic() < deadline, "nothing ends"
            self._readiness.wait(1000)
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
        """What an attempt printed."""
        return text_of((self.folder / f"{node}.log").read_bytes())

    def pid(self):
        """The next process that an operator writes down."""
        return int(self._pids.readline())

    def close(self):
        self.pool.close()
        self.pool.wait()
        self._readiness.close()


@pytest.fixture
def bench(tmp_path):
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def clean_bench(tmp_path):
    """One whose zygote is a new interpreter: it has nothing of the tests' process, as modules and threads."""
    bench = Bench(tmp_path, start=start_zygote)
    yield bench
    bench.close()


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
        bench.pool.spawn(Spawn("node", 1, "ops:add", "c0de", trees, 1, None))
        assert bench.value(*bench.ends()) == 21

    @pytest.mark.parametrize("isolation", ["warm", "fork"])
    def test_many_at_once(self, bench, isolation):
        for n in range(30):
            bench.spawn("add", node=f"n{n}", isolation=isolation, a=n)
        results = {ended.node: bench.value(ended) for ended in bench.ends(30)}
        assert results == {f"n{n}": n + 1 for n in range(30)}

    def test_an_order_larger_than_a_socket_takes(self, bench):
        assert bench.value(bench.run("add", a="x" * 3_000_000, b="y")) == "x" * 3_000_000 + "y"

    def test_an_operator_may_close_its_output(self, bench):
        assert bench.value(bench.run("shuts_up")) == 7
        assert bench.value(bench.run("shuts_up", node="next")) == 7


class TestOutput:
    def test_goes_to_the_log(self, bench):
        bench.run("talk")
        lines = bench.log().splitlines()
        assert [line for line in lines if line != "on stderr"] == [
            "on stdout", "from a child", "\ufffd\x00", "the end"
        ]  # fmt: skip
        assert "on stderr" in lines
        rows = (bench.folder / "node.log").read_bytes().splitlines()
        assert b" stdout F \xff\x00" in rows[2] + rows[3]

    def test_of_an_exception_too_with_the_operators_frames_only(self, bench):
        ended = bench.run("raises", text="wrong")
        assert ended.failure.code == "FR201"
        assert ended.failure.message == "ValueError: wrong"
        assert "ValueError: wrong" in bench.log()
        assert 'ops.py", line' in bench.log()
        assert "worker.py" not in bench.log()

    def test_is_that_of_the_attempt_that_printed_it(self, bench):
        for n in range(20):
            bench.run("changes", node=f"n{n}", what=f"print({n}, 'of {n}', end='')")
        assert [bench.log(f"n{n}") for n in range(20)] == [f"{n} of {n}" for n in range(20)]

    def test_without_any_there_is_no_log(self, bench):
        bench.run("add", a=1)
        assert list(bench.folder.glob("*.log")) == [bench.folder / "zygote.log"]

    def test_of_one_who_is_killed_is_not_lost(self, bench):
        bench.run("changes", what="os.write(1, b'last words'); os.kill(os.getpid(), 9)")
        assert bench.log() == "last words"


class TestFailures:
    @pytest.mark.parametrize(
        ("op", "args", "code", "message"),
        [
            ("dies", {"by": signal.SIGUSR1}, "FR202", "its process was killed by SIGUSR1"),
            ("dies", {"by": signal.SIGKILL}, "FR202", "killed by SIGKILL (the kernel does that when memory"),
            ("exits", {"status": 0}, "FR202", "its process exited with status 0 without a result"),
            ("exits", {"status": 3}, "FR202", "its process exited with status 3 without a result"),
            ("gives_up", {}, "FR201", "SystemExit: enough"),
            ("raises", {"text": "x" * 100_000}, "FR201", "ValueError: xxx"),
            ("raises", {"text": "\U0001f600" * 10_000}, "FR201", "ValueError: \U0001f600"),
            ("changes", {"what": "raise ValueError('\\udcff')"}, "FR201", r"ValueError: \udcff"),
            ("add", {"a": "text"}, "FR201", "TypeError"),
            ("missing", {}, "FR206", "`ops:missing` cannot be loaded"),
            ("wait_for_ever", {}, "FR206", "`ops:wait_for_ever` is not an operator"),
        ],
    )
    @pytest.mark.parametrize("isolation", ["warm", "fork"])
    def test_say_why(self, bench, op, args, code, message, isolation):
        ended = bench.run(op, isolation=isolation, **args)
        assert ended.artifact is None
        assert ended.failure.code == code
        assert message in ended.failure.message

    def test_a_changed_operator_is_not_run(self, bench):
        bench.pool.spawn(Spawn("node", 1, "ops:add", "other", {"a": {"value": 1}}, 1, None))
        (ended,) = bench.ends()
        assert (ended.failure.code, "changed" in ended.failure.message) == ("FR206", True)

    def test_even_without_the_folder_that_it_was_in(self, bench):
        for node in ("one", "two"):
            ended = bench.run("loses_its_folder", node=node)
            assert (ended.failure.code, ended.failure.message) == ("FR201", "ValueError: lost")

    def test_a_damaged_argument(self, bench):
        stored = bench.store.put(list(range(5000)))
        bench.store.path(stored.hash).unlink()
        trees = {"a": {"artifact": stored.source, "at": []}}
        bench.pool.spawn(Spawn("node", 1, "ops:add", "c0de", trees, 1, None))
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

    def test_a_gpu_is_free_only_when_the_process_is_gone(self, bench):
        """A process that ends slowly: what it started has to be ended first."""
        for n in range(5):
            ended = bench.run("pid", node=f"n{n}", gpus=(0,))
            assert not psutil.pid_exists(bench.value(ended))


class TestIsolation:
    def pids(self, bench, count=4, **settings):
        return {bench.value(bench.run("pid", node=f"n{n}", **settings)) for n in range(count)}

    def test_warm_workers_take_one_node_after_the_other(self, bench):
        assert len(self.pids(bench)) == 1

    def test_by_the_number_of_threads_that_their_libraries_have_set_up(self, bench):
        (one,), (two,) = self.pids(bench, cpus=1), self.pids(bench, cpus=2)
        assert one != two
        assert self.pids(bench, cpus=1) == {one}

    @pytest.mark.parametrize("settings", [{"isolation": "fork"}, {"gpus": (0,)}])
    def test_others_take_one_only(self, bench, settings):
        assert len(self.pids(bench, **settings)) == 4

    def test_a_fresh_interpreter_has_loaded_nothing(self, bench):
        forked = bench.value(bench.run("looks", at="len(sys.modules)", isolation="fork"))
        found = bench.value(bench.run("looks", at="(len(sys.modules), os.getcwd())", isolation="fresh"))
        assert int(forked) > 0
        assert str(bench.folder / "work") in found
        assert len(self.pids(bench, 2, isolation="fresh")) == 2

    def test_not_more_are_idle_than_there_are_cpus(self, bench):
        for n in range(12):
            bench.spawn("changes", node=f"n{n}", what="time.sleep(0.05)")
        bench.ends(12)
        bench.run("add", a=1)
        kept = os.cpu_count() + 1  # and perhaps one that was forked ahead
        deadline = time.monotonic() + 10
        while len(descendants(bench.pool.zygote)) > kept and time.monotonic() < deadline:
            bench._readiness.wait(20)
        assert len(descendants(bench.pool.zygote)) <= kept


class TestWhatIsPutBack:
    """A node must not be able to tell that there was one before."""

    @pytest.mark.parametrize(
        ("change", "look"),
        [
            ("os.environ['X'] = 'y'; del os.environ['PATH']", "'X' in os.environ, 'PATH' in os.environ"),
            ("os.environ.clear()", "sorted(os.environ)"),
            ("os.chdir('/')", "os.getcwd()"),
            ("open('left', 'w'); os.mkdir('d'); open('d/x', 'w'); os.chmod('d', 0)", "os.listdir()"),
            ("os.rmdir(os.getcwd())", "os.listdir(), os.path.exists(os.getcwd())"),
            ("os.umask(0)", "os.umask(0)"),
            ("signal.signal(signal.SIGUSR1, signal.SIG_IGN)", "signal.getsignal(signal.SIGUSR1)"),
            (
                "signal.pthread_sigmask(signal.SIG_BLOCK, [10])",
                "signal.pthread_sigmask(signal.SIG_BLOCK, [])",
            ),
            ("signal.signal(14, lambda *_: 1); signal.alarm(1)", "signal.alarm(0)"),
            ("sys.stdout = sys.stderr = None", "sys.stdout.fileno(), sys.stderr.fileno()"),
            ("sys.stdout.close()", "sys.stdout.closed"),
            ("os.dup2(2, 1)", "os.fstat(1).st_ino == os.fstat(2).st_ino"),
            ("sys.path.insert(0, '/x')", "sys.path"),
            ("import gc; gc.disable()", "__import__('gc').isenabled()"),
        ],
    )
    def test_before_each_node(self, bench, change, look):
        before = bench.value(bench.run("looks", at=look))
        pid = bench.value(bench.run("pid"))
        assert bench.value(bench.run("changes", what=change)) == pid
        assert bench.value(bench.run("looks", at=look)) == before
        assert bench.value(bench.run("pid")) == pid

    @pytest.mark.parametrize("module", ["random", "numpy.random"])
    def test_random_numbers_are_different_ones(self, bench, module):
        bench.run("changes", what=f"import {module} as r; r.seed(1)")
        drawn = [bench.value(bench.run("looks", at=f"sys.modules['{module}'].random()")) for _ in range(3)]
        assert len(set(drawn)) == 3

    @pytest.mark.parametrize(
        "change",
        [
            "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()",
            "sys.left = open('/dev/null')",
            "sys.left = bytes(range(256)) * 1_000_000",
            "subprocess.Popen(['sleep', '600'])",
            "os.nice(1)",
            "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100))",
        ],
    )
    def test_with_what_cannot_be_put_back_a_worker_is_not_used_again(self, bench, change):
        changed = bench.value(bench.run("changes", what=change))
        assert bench.value(bench.run("pid")) != changed

    def test_nor_with_a_node_that_failed(self, bench):
        pid = bench.value(bench.run("pid"))
        bench.run("raises", text="no")
        assert bench.value(bench.run("pid")) != pid

    def test_memory_is_that_of_each_node(self, clean_bench):
        bench = clean_bench
        hungry = bench.run("changes", what="x = bytes(range(256)) * 800_000; del x")
        modest = bench.run("changes", what="x = bytes(range(256)) * 80_000; del x")
        assert bench.value(hungry) == bench.value(modest)
        assert 190 <= hungry.usage.peak_mb <= 220
        assert 15 <= modest.usage.peak_mb <= 40

    def test_time_too(self, bench):
        busy = bench.run(
            "changes", what="end = time.process_time() + 0.2\nwhile time.process_time() < end: pass"
        )
        assert 190 <= busy.usage.cpu_ms <= 400
        assert bench.run("add", a=1).usage.cpu_ms < 100

    def test_a_copy_of_the_worker_that_an_operator_made_is_no_worker(self, bench):
        pid = bench.value(bench.run("forks_and_forgets"))
        assert pid in (bench.value(bench.run("pid")), pid)
        assert [bench.value(bench.run("add", a=n)) for n in range(5)] == [1, 2, 3, 4, 5]


class TestImports:
    SLOW = """
import ops, sys
@ops.Operator
def loaded(): return "heavy" in sys.modules
"""

    @pytest.fixture
    def bench(self, tmp_path):
        (tmp_path / "slow.py").write_text(self.SLOW)
        os.mkfifo(tmp_path / "go")
        (tmp_path / "heavy.py").write_text(f"open({str(tmp_path / 'go')!r}).read()")
        bench = Bench(tmp_path, ["ops:add", "slow:loaded"])
        yield bench
        bench.close()

    def test_nobody_else_waits_for_them(self, bench):
        bench.spawn("slow:loaded", node="slow", imports=("heavy",))
        assert [bench.value(bench.run("add", node=f"n{n}", a=n)) for n in range(3)] == [1, 2, 3]
        (bench.folder / "go").write_text("")
        (ended,) = bench.ends()
        assert (ended.node, bench.value(ended)) == ("slow", True)
        assert list(ended.usage.imports) == ["heavy"]

    def test_they_begin_when_they_can_be_foreseen(self, bench):
        bench.run("add", a=1)
        bench.pool.foresee(("heavy",))
        (bench.folder / "go").write_text("")  # waits for somebody to read
        ended = bench.run("slow:loaded", imports=("heavy",))
        assert bench.value(ended) is True
        again = bench.run("slow:loaded", imports=("heavy",))
        assert (bench.value(again), again.usage.imports) == (True, {})

    def test_who_has_more_than_is_needed_will_do(self, bench):
        (bench.folder / "light.py").write_text("")
        one = bench.value(bench.run("looks", at="os.getpid()", imports=("light",)))
        assert bench.value(bench.run("looks", at="os.getpid()")) == one

    def test_one_that_dies_of_them_takes_nobody_with_it(self, bench):
        (bench.folder / "deadly.py").write_text("import os; os._exit(3)")
        bench.spawn("hangs", node="other", pids=bench.pids)
        bench.pid()
        ended = bench.run("slow:loaded", imports=("deadly",))
        assert ended.failure.code == "FR207"
        bench.pool.kill("", "other", 1, force=True)
        assert bench.ends()[0].node == "other"


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

    @pytest.mark.parametrize("op", ["has_child", "lets_escape"])
    @pytest.mark.parametrize("force", [False, True])
    def test_all_that_it_started(self, bench, op, force):
        bench.spawn(op, pids=bench.pids, hangs=True)
        child = bench.pid()
        bench.pool.kill("", "node", 1, force)
        bench.ends()
        assert is_gone(child)

    @pytest.mark.parametrize("op", ["has_child", "lets_escape"])
    @pytest.mark.parametrize("isolation", ["warm", "fork", "fresh"])
    def test_what_an_operator_leaves_behind(self, bench, op, isolation):
        ended = bench.run(op, pids=bench.pids, hangs=False, isolation=isolation)
        assert bench.value(ended) == 7
        assert not psutil.pid_exists(bench.pid())

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

    def test_a_late_signal_hits_nobody_else(self, bench):
        """It is on its way when the attempt ends: the worker gets no other."""
        for n in range(30):
            bench.spawn("add", node=f"n{n}", a=n)
            bench.pool.kill("", f"n{n}", 1, force=False)
            bench.ends()
            assert bench.value(bench.run("add", node="next", a=n)) == n + 1

    def test_of_an_idle_worker_costs_nothing(self, bench):
        """An order that its process had not read when it died is lost through no fault of the node."""
        for _ in range(10):
            pid = bench.value(bench.run("pid"))
            os.kill(pid, signal.SIGKILL)
            ended = bench.run("add", a=1)
            assert ended.failure is None or ended.failure.code == "FR207"


class TestZygote:
    def test_when_it_is_killed_what_ran_is_lost_and_all_goes_on(self, bench):
        bench.spawn("hangs", node="a", pids=bench.pids)
        bench.spawn("hangs", node="b", pids=bench.pids)
        workers = [bench.pid(), bench.pid()]
        before = bench.pool.zygote
        os.kill(before, signal.SIGKILL)
        ended = bench.ends(2)
        assert sorted((e.node, e.failure.code) for e in ended) == [("a", "FR207"), ("b", "FR207")]
        assert not any(map(psutil.pid_exists, workers))
        assert bench.pool.zygote != before
        assert bench.value(bench.run("add", node="a", attempt=2, a=1)) == 2

    @pytest.mark.parametrize("op", ["has_child", "lets_escape"])
    def test_when_it_is_killed_what_operators_started_ends_too(self, bench, op):
        bench.spawn(op, pids=bench.pids, hangs=True)
        child = bench.pid()
        os.kill(bench.pool.zygote, signal.SIGKILL)
        bench.ends()
        assert not psutil.pid_exists(child)

    def test_one_for_some_imports_is_killed(self, clean_bench):
        bench = clean_bench
        bench.spawn("lets_escape", node="a", imports=("json",), pids=bench.pids, hangs=True)
        child = bench.pid()
        bench.spawn("hangs", node="b", pids=bench.pids)
        bench.pid()
        worker = psutil.Process(child).parent()  # which has adopted it
        assert worker.parent().ppid() == bench.pool.zygote
        worker.parent().kill()
        (ended,) = bench.ends()
        assert (ended.node, ended.failure.code) == ("a", "FR207")
        assert not psutil.pid_exists(child)
        assert bench.value(bench.run("add", node="c", imports=("json",), a=1)) == 2

    def test_when_it_is_killed_before_it_hears_of_a_node(self, bench):
        os.kill(bench.pool.zygote, signal.SIGSTOP)
        bench.spawn("add", isolation="fork", a=1)
        os.kill(bench.pool.zygote, signal.SIGKILL)
        (ended,) = bench.ends()
        assert ended.failure.code == "FR207"

    def test_a_spawn_after_its_death_is_lost_not_forgotten(self, bench):
        os.kill(bench.pool.zygote, signal.SIGKILL)
        assert is_gone(bench.pool.zygote)
        bench.spawn("add", a=1)
        (ended,) = bench.ends()
        assert ended.failure.code == "FR207"

    def test_the_children_of_others_are_none_of_its_business(self, bench):
        with psutil.Popen(["sleep", "600"]) as other:
            bench.run("add", a=1)
            os.kill(bench.pool.zygote, signal.SIGKILL)
            bench.spawn("add", a=1)
            bench.ends()
            assert other.is_running()
            other.kill()


class TestTheEnd:
    @pytest.mark.parametrize("start", [fork_zygote, start_zygote])
    def test_nothing_is_left(self, tmp_path, start):
        bench = Bench(tmp_path, start=start)
        bench.spawn("has_child", node="a", pids=bench.pids, hangs=True)
        bench.spawn("lets_escape", node="b", imports=("json",), pids=bench.pids, hangs=True)
        children = [bench.pid(), bench.pid()]
        family = descendants(bench.pool.zygote)
        assert len(family) >= 5  # two workers, their children, and a zygote
        bench.close()
        assert not any(map(psutil.pid_exists, [bench.pool.zygote, *children, *family]))
        assert os.listdir(tmp_path / "work/0") == []

    def test_one_that_was_never_needed_is_not_waited_for(self, tmp_path):
        """A run that is refused does not wait until torch has been imported."""
        (tmp_path / "slow.py").write_text("import signal\nsignal.pause()")
        bench = Bench(tmp_path, ["slow:op"])
        bench.close()
        assert is_gone(bench.pool.zygote)

    def test_modules_that_do_not_import_are_no_matter_until_they_are_used(self, tmp_path):
        (tmp_path / "broken.py").write_text(
            "import os\nos.write(1, b'importing')\nraise RuntimeError('not today')"
        )
        bench = Bench(tmp_path, ["broken:op", "absent:op", "ops:add"])
        assert bench.value(bench.run("add", a=1)) == 2
        bench.close()
        assert "importing" in (tmp_path / "zygote.log").read_text()


def test_the_tests_process_has_not_imported_the_operators(bench):
    bench.run("add", a=1)
    assert "ops" not in sys.modules
