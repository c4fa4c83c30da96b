"""A pool of real workers over operators that do all sorts of things, and what a test needs of it.

No compiler here: anything with `fn`, its types, `hints` and `code` is an operator.
"""

import os
import select
import time

from flowrun.shell.readiness import Readiness
from flowrun.shell.store.artifacts import Store
from flowrun.shell.workers.forkserver import fork_zygote
from flowrun.shell.workers.messages import Spawn
from flowrun.shell.workers.output import text_of
from flowrun.shell.workers.pool import Pool

IMPORTS = ("json", "heavy", "light", "deadly")
SETTINGS = {"imports", "hidden", "scratch", "isolation", "on", "memory_mb"}
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
        between = os.getpid()
        if os.fork() == 0:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            while os.getppid() == between:  # nobody has adopted it yet
                time.sleep(0.001)
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

    def spawn(self, op, node="node", attempt=1, gpus=None, cpus=1, **settings):
        """Start an attempt. What `Spawn` knows by name is a setting, all else an argument of the operator."""
        known = {name: settings.pop(name) for name in SETTINGS & settings.keys()}
        trees = {name: {"value": value} for name, value in settings.items()}
        reference = op if ":" in op else f"ops:{op}"
        self.pool.spawn(Spawn(node, attempt, reference, "c0de", trees, cpus, gpus, **known))

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
