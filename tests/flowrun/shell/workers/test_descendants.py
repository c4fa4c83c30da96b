"""Processes and all that they started are found and ended, however they hid."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from bench import is_gone

from flowrun.shell.workers import descendants as module
from flowrun.shell.workers.descendants import children, descendants, send_to_all, tree

# A process that adopts orphans, tells who it is, does what it is told, and tells what came of it.
ADOPTS = """
import os, signal, subprocess, sys, threading, time
from flowrun.shell.workers.descendants import *

def escape():
    "As daemons are made: forked twice, in a session of its own. Its process."
    told, tell = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            os.write(tell, b"%d" % os.getpid())
            time.sleep(600)
        os._exit(0)
    pid = int(os.read(told, 20))
    os.waitid(os.P_ALL, 0, os.WEXITED)
    return pid

adopt_orphans()
"""


@pytest.fixture
def told():
    """Runs such a process; what it tells."""

    def run(body):
        done = subprocess.run(
            [sys.executable, "-c", ADOPTS + body], capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return [int(word) for word in done.stdout.split()]

    return run


class TestFinding:
    def test_children_of_all_threads_and_theirs(self):
        body = (
            "import subprocess, sys, threading\n"
            "words = ['sh', '-c', 'sleep 600 & echo $!; wait']\n"
            "def start(): start.child = subprocess.Popen(words, stdout=subprocess.PIPE)\n"
            "thread = threading.Thread(target=start); thread.start(); thread.join()\n"
            "other = subprocess.Popen(['sleep', '600'])\n"
            "print(start.child.pid, int(start.child.stdout.readline()), other.pid, flush=True)\n"
            "sys.stdin.read()"
        )
        with subprocess.Popen(
            [sys.executable, "-c", body], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as process:
            shell, grandchild, other = map(int, process.stdout.readline().split())
            assert {*children(process.pid)} == {shell, other}
            found = descendants(process.pid)
            assert {*found} == {shell, grandchild, other}
            assert found.index(shell) < found.index(grandchild)
            assert tree(process.pid) == [process.pid, *found]
            send_to_all(process.pid, signal.SIGKILL)
            assert all(map(is_gone, (shell, grandchild, other)))

    def test_where_the_kernel_keeps_no_list(self, monkeypatch):
        with subprocess.Popen(["sleep", "600"]) as child:
            monkeypatch.setattr("builtins.open", _without("children", open))
            assert child.pid in children(os.getpid())
            child.kill()

    def test_of_one_that_is_gone(self):
        with subprocess.Popen(["true"]) as gone:
            pass
        assert children(gone.pid) == []
        send_to_all(gone.pid, signal.SIGKILL)


def _without(name, opened):
    def open_it(path, *args, **kwargs):
        if str(path).endswith(f"/{name}"):
            raise FileNotFoundError(path)
        return opened(path, *args, **kwargs)

    return open_it


class TestEnding:
    def test_one_who_escaped_is_a_child_again_and_ends(self, told):
        escaped, was_child, all_gone = told(
            "pid = escape()\nprint(pid, int(pid in children(os.getpid())), int(end_children()))"
        )
        assert (was_child, all_gone) == (1, 1)
        assert not psutil.pid_exists(escaped)

    def test_who_is_spared_lives(self, told):
        spared, escaped, ended, alive = told(
            "spared = subprocess.Popen(['sleep', '600']).pid\n"
            "pid = escape()\n"
            "print(spared, pid, int(end_children(lambda child: child == spared)))\n"
            "os.kill(spared, 0)\n"
            "print(1)\n"
            "end_children()"
        )
        assert (ended, alive) == (1, 1)
        assert not psutil.pid_exists(escaped)
        assert not psutil.pid_exists(spared)

    def test_one_that_forks_for_ever_does_not_get_away(self, told):
        """Killed together with its children, as it is stopped by nothing else."""
        (ended,) = told(
            "if os.fork() == 0:\n"
            "    os.setsid()\n"
            "    for _ in range(50):\n"
            "        if os.fork() == 0:\n"
            "            os.setsid(); time.sleep(600)\n"
            "        time.sleep(0.001)\n"
            "    os._exit(0)\n"
            "time.sleep(0.02)\n"
            "end_children()\n"
            "print(int(not children(os.getpid())))"
        )
        assert ended == 1

    def test_what_hangs_in_the_kernel_is_not_waited_for_for_ever(self, monkeypatch):
        with subprocess.Popen(["sleep", "600"]) as child:
            monkeypatch.setattr(module, "_PATIENCE_S", 0.05)
            monkeypatch.setattr(module, "send_to_all", lambda *_: None)
            assert not module.end_children(lambda pid: pid != child.pid)
            child.kill()

    def test_whether_there_are_any(self, told):
        assert told(
            "print(int(have_children()))\nescape()\nprint(int(have_children()))\n"
            "end_children()\nprint(int(have_children()))"
        ) == [0, 1, 0]


def test_a_process_hears_of_its_parents_death():
    body = (
        "import os, signal, subprocess, sys, time\n"
        "from flowrun.shell.workers.descendants import signal_at_parents_death\n"
        "if (pid := os.fork()) == 0:\n"
        "    signal_at_parents_death(signal.SIGKILL)\n"
        "    print(os.getpid(), flush=True)\n"
        "    time.sleep(600)\n"
        "os.waitpid(pid, 0)"
    )
    with subprocess.Popen([sys.executable, "-c", body], stdout=subprocess.PIPE) as process:
        child = int(process.stdout.readline())
        process.kill()
        assert is_gone(child)
