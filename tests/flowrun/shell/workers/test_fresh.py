"""Workers and zygotes as new interpreters: they find their modules, and have nothing else of ours."""

import json
import os
import subprocess
import sys

import pytest

from flowrun.shell.workers import fresh
from flowrun.shell.workers.fresh import command

ODD = "a folder with 'quotes', \"more\", {braces} and \\n"


@pytest.mark.parametrize("argument", ["", "[1, 2]", ODD, "\n", "\u20ac"])
def test_a_command_line_says_what_to_call_whatever_is_in_it(tmp_path, monkeypatch, argument):
    package = tmp_path / ODD / "flowrun" / "shell" / "workers"
    package.mkdir(parents=True)
    (package / "fresh.py").write_text("import sys\ndef work(text): print([text, sys.path[0]])")
    monkeypatch.setattr(sys, "path", [str(tmp_path / ODD), *sys.path])
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").touch()
    done = subprocess.run(command("work", argument), capture_output=True, text=True)
    assert eval(done.stdout) == [argument, str(tmp_path / ODD)], done.stderr


def test_a_zygote_whose_parent_died_before_it_could_notice_ends(tmp_path):
    read, write = os.pipe()
    another = os.getppid()  # not the one that starts it
    words = command("serve", json.dumps([another, write, 100]))
    done = subprocess.run(words, pass_fds=[write], timeout=30)
    os.close(read)
    os.close(write)
    assert done.returncode == 1


def test_what_a_new_interpreter_gets_is_inheritable_and_nothing_else(monkeypatch):
    from flowrun.shell.workers.messages import Fork, Prepare

    given, other = os.pipe()
    called = []
    monkeypatch.setattr(os, "execv", lambda *words: called.append(words))
    fork = Fork(3, "/work/0/1", fresh=True)
    prepare = Prepare("/root", "/store", "/log", "/project", ("ops:add",), ())
    fresh.become(fork, prepare, [given])
    assert (os.get_inheritable(given), os.get_inheritable(other)) == (True, False)
    ((program, words),) = called
    assert (program, words[:2]) == (sys.executable, [sys.executable, "-c"])
    assert "/work/0/1" in words[2]
    os.close(given)
    os.close(other)


class TestAsAWorker:
    def seen(self, bench, at):
        return eval(bench.value(bench.run("looks", at=at, isolation="fresh")))

    def test_it_has_no_descriptors_but_its_own(self, bench):
        open_now = "(f'/proc/self/fd/{n}' for n in os.listdir('/proc/self/fd'))"
        links = self.seen(bench, f"[os.readlink(path) for path in {open_now} if os.path.lexists(path)]")
        kinds = sorted(link.partition(":")[0] for link in links if not link.startswith("/proc/"))
        assert kinds.count("socket") == 1  # the scheduler's
        assert {*kinds} <= {"/dev/null", "pipe", "socket", str(bench.folder / "zygote.log")}

    def test_it_has_loaded_no_more_than_it_needs(self, bench):
        found = self.seen(bench, "sorted({'pytest', 'psutil', 'numpy', 'torch'} & sys.modules.keys())")
        assert found == []

    def test_it_can_be_interrupted_and_asked_to_end(self, bench):
        assert self.seen(bench, "[signal.getsignal(n) is signal.SIG_DFL for n in (2, 15)]") == [True, True]
        assert self.seen(bench, "len(signal.pthread_sigmask(0, ()))") == 0

    def test_it_finds_the_projects_modules(self, bench):
        (bench.folder / "more.py").write_text("answer = 42")
        assert self.seen(bench, "__import__('more').answer") == 42

    def test_it_can_be_killed_gently(self, bench):
        bench.spawn("hangs", pids=bench.pids, isolation="fresh")
        bench.pid()
        bench.pool.kill("", "node", 1, force=False)
        (ended,) = bench.ends()
        assert "SIGTERM" in ended.failure.message
