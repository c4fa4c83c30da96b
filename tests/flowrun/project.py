"""A project in a folder of its own, used as people use it: through the commands, as processes."""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections import Counter
from pathlib import Path

import psutil

BIN = Path(sys.executable).parent
PRELUDE = '''
import os, signal, subprocess, sys
from flowc import operator, project, workflow

def note(name):
    """Write down that an operator runs, in one write that a crash cannot cut."""
    with open(project() / "ran", "a") as file:
        file.write(f"{name} {os.getpid()}\\n")

def tell(text):
    """Say something to the test, which may be waiting for it."""
    with open(project() / "told", "w") as pipe:
        print(text, file=pipe)
'''


class Project:
    """`flows.py` is the source. Operators call `note(NAME)`, and `ran()` tells who ran how often; what they
    `tell`, `told()` waits for."""

    def __init__(self, folder, source):
        self.folder = folder
        self.plan = "plans/main.plan.jsonl"
        os.mkfifo(folder / "told")
        # Open at both ends: whoever writes does not wait, and the reader does.
        self._told = os.fdopen(os.open(folder / "told", os.O_RDWR))
        self.write(source)
        self.compile()

    def write(self, source):
        (self.folder / "flows.py").write_text(PRELUDE + source)

    def compile(self):
        self.command("flowc", "compile", "flows.py:main", status=0)

    def command(self, *words, status=None):
        """Run a command to its end."""
        done = subprocess.run([BIN / words[0], *words[1:]], cwd=self.folder, capture_output=True, text=True)
        assert status is None or done.returncode == status, done.stdout + done.stderr
        return done

    def flowrun(self, *words, status=0):
        return self.command("flowrun", *words, status=status)

    def execute(self, *words, status=0):
        return self.flowrun("execute", self.plan, *words, status=status)

    def start(self, *words):
        """`flowrun execute` in a process group of its own, to be looked at while it runs."""
        return Execution(self.folder, [BIN / "flowrun", "execute", self.plan, *words])

    def daemon(self, *words):
        """`flowrun daemon`, when it listens."""
        started = Execution(self.folder, [BIN / "flowrun", "daemon", *words])
        started.until("daemon:")
        return started

    def submit(self, *words, status=0):
        return self.flowrun("submit", self.plan, *words, status=status)

    def json(self, *words):
        return json.loads(self.flowrun(*words, "--json").stdout)

    def artifacts(self, run):
        nodes = self.json("show", run)["nodes"]
        return {node["node"]: node["artifact"]["hash"] for node in nodes if "artifact" in node}

    def ran(self):
        """How often each operator ran."""
        path = self.folder / "ran"
        return (
            Counter(line.split()[0] for line in path.read_text().splitlines()) if path.exists() else Counter()
        )

    def told(self):
        """The next line that an operator tells; waits for it."""
        return self._told.readline().strip()

    def processes(self):
        """Every live process that works in the project's folder."""
        found = []
        for process in psutil.process_iter():
            try:
                if (
                    Path(process.cwd()).is_relative_to(self.folder)
                    and process.status() != psutil.STATUS_ZOMBIE
                ):
                    found.append(process)
            except psutil.Error:
                pass
        return found


class Execution:
    """A running `flowrun execute`, or another command that says what it does."""

    def __init__(self, folder, words):
        self.process = subprocess.Popen(
            words,
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.lines = []

    def until(self, *words):
        """Read lines up to one that has all these words in it."""
        for line in self.process.stdout:
            self.lines.append(line)
            if set(words) <= set(line.split()):
                return line
        raise AssertionError(f"{words} never came:\n{''.join(self.lines)}{self.process.stderr.read()}")

    def done(self):
        """The nodes that are said to be done so far."""
        return [line.split()[3] for line in self.lines if line.split()[1:3] == ["s", "done"]]

    def signal(self, number):
        os.killpg(self.process.pid, number)

    def end(self):
        """Wait for the end; the exit status, and what it wrote after what was read already."""
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


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


def end_all(project):
    for process in project.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def follow(project, run):
    """Wait for a run's end."""
    from flowrun.service.follow import follow as follow_run
    from flowrun.shell.log.home import Home

    class Quiet:
        def see(self, state, changes): ...
        def tick(self, state): ...
        def suffer(self, outage): ...

    ended = follow_run(Home(Path(project.folder) / ".flow"), run, Quiet())
    assert ended is not None
    return ended.status
