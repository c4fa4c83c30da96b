"""What real workers put back between two nodes, and what ends them."""

import os
import sys

import pytest

from flowrun.shell.workers.messages import Spawn
from flowrun.shell.workers.surroundings import Surroundings


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


class TestItsShare:
    """What a node is told of the host, and what it is not."""

    @pytest.fixture
    def bench(self, monkeypatch, tmp_path, request):
        monkeypatch.setenv("TOKEN", "secret")
        monkeypatch.setenv("OPEN", "to all")
        return request.getfixturevalue("bench")

    def seen(self, bench, *names, **settings):
        at = f"[os.environ.get(name) for name in {names}]"
        return eval(bench.value(bench.run("looks", at=at, **settings)))

    def test_secrets_of_others_are_hidden_and_ones_own_are_there(self, bench):
        assert self.seen(bench, "TOKEN", "OPEN", hidden=("TOKEN",)) == [None, "to all"]
        assert self.seen(bench, "TOKEN", "OPEN") == ["secret", "to all"]
        assert self.seen(bench, "TOKEN", hidden=("TOKEN", "ABSENT")) == [None]

    def test_the_number_of_threads(self, bench):
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")
        assert self.seen(bench, *names, cpus=3) == ["3"] * 4
        assert self.seen(bench, *names, cpus=0.5) == ["1"] * 4

    def test_a_folder_for_all_its_attempts(self, bench):
        assert self.seen(bench, "FLOW_SCRATCH", scratch="/one") == ["/one"]
        assert self.seen(bench, "FLOW_SCRATCH", scratch="/two") == ["/two"]

    def test_its_working_directory(self, bench):
        for isolation in ("warm", "fork", "fresh"):
            look = "os.environ['PWD'] == os.getcwd() == __import__('subprocess').getoutput('pwd')"
            assert bench.value(bench.run("looks", at=look, isolation=isolation)) == "True"

    def test_cpus_of_its_own_and_all_again(self, bench):
        everything = os.sched_getaffinity(0)
        look = "sorted(os.sched_getaffinity(0))"
        assert eval(bench.value(bench.run("looks", at=look, on=(min(everything),)))) == [min(everything)]
        assert eval(bench.value(bench.run("looks", at=look))) == sorted(everything)


class TestFolder:
    """The working directory, seen from within: this process is the worker for a moment."""

    @pytest.fixture
    def folder(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("FLOW_BEAT", "")
        monkeypatch.setenv("PWD", str(tmp_path))
        for name in ("stdout", "stderr"):
            monkeypatch.setattr(sys, name, getattr(sys, name))
        return str(tmp_path / "work" / "0")

    @pytest.fixture
    def surroundings(self, folder):
        return Surroundings(folder, [1, 2])

    def test_is_made_and_empty_before_each_node(self, folder, surroundings):
        surroundings.put_back()
        assert os.getcwd() == folder
        os.makedirs("deep/er")
        with open("deep/file", "w") as file:
            file.write("x")
        os.symlink("/", "root")
        surroundings.put_back()
        assert (os.getcwd(), os.listdir()) == (folder, [])

    def test_has_its_name_in_the_environment_as_a_shell_would_give_it(self, folder, surroundings):
        surroundings.put_back()
        surroundings.settle(Spawn("node", 1, "ops:add", "c0de", {}, 1, None))
        assert os.environ["PWD"] == folder
        os.environ["PWD"] = "/elsewhere"
        surroundings.put_back()
        surroundings.settle(Spawn("node", 2, "ops:add", "c0de", {}, 1, None))
        assert os.environ["PWD"] == folder

    def test_is_left_alone_where_nothing_was_done_in_it(self, folder, surroundings):
        surroundings.put_back()
        before = os.stat(folder).st_ino
        surroundings.put_back()
        assert os.stat(folder).st_ino == before

    def test_what_came_and_went_is_noticed(self, folder, surroundings):
        """Its time is one that no clock gives."""
        surroundings.put_back()
        open("file", "w").close()
        os.unlink("file")
        assert os.stat(folder).st_mtime_ns != 0
        surroundings.put_back()
        assert os.stat(folder).st_mtime_ns == 0

    def test_a_file_in_its_place(self, folder, surroundings):
        os.makedirs(os.path.dirname(folder))
        open(folder, "w").close()
        surroundings.put_back()
        assert os.getcwd() == folder

    def test_one_that_cannot_be_emptied_is_left_for_another(self, folder, surroundings, monkeypatch):
        surroundings.put_back()
        open("stays", "w").close()
        unlink = os.unlink

        def refuse(path, **of):
            if str(path).endswith("stays"):
                raise PermissionError(path)
            unlink(path, **of)

        monkeypatch.setattr(os, "unlink", refuse)
        surroundings.put_back()
        assert os.getcwd() == f"{folder}+"
        assert os.listdir(folder) == ["stays"]
        surroundings.settle(Spawn("node", 1, "ops:add", "c0de", {}, 1, None))
        assert os.environ["PWD"] == f"{folder}+"

    def test_where_there_can_be_none_the_node_is_told(self, tmp_path, folder, surroundings):
        (tmp_path / "work").write_text("a file")
        surroundings.put_back()
        with pytest.raises(NotADirectoryError):
            surroundings.settle(Spawn("node", 1, "ops:add", "c0de", {}, 1, None))
