"""After `kill -9` of flowrun, a look at all processes of this machine finds none that it started.

However they hid: in a session of their own, forked twice, without an environment or a folder that would tell.
"""

import contextlib
import os
import signal
import time

import psutil
import pytest
from project import Project, is_gone

FLOW = """
import time

def hide(name):
    '''A daemon, as daemons are made, which is told apart by a pipe that it holds alone.'''
    told, tells = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            os.chdir("/")
            os.write(tells, b"%d" % os.getpid())
            os.execve("/bin/sleep", [name, "600"], {})
        os._exit(0)
    os.wait()
    return int(os.read(told, 20))

@operator(cpus=0.1)
def escapes(k: int, isolation: str) -> int:
    tell(f"{os.getpid()} {hide('escaped')}")
    time.sleep(600)
    return k

@operator(cpus=0.1)
def escapes_with_a_session(k: int) -> int:
    os.setsid() if os.getpid() != os.getpgid(0) else None
    child = subprocess.Popen(["sleep", "600"], start_new_session=True, cwd="/", env={})
    tell(f"{os.getpid()} {child.pid}")
    time.sleep(600)
    return k

@workflow
def main() -> list[int]:
    return [escapes(0, "a"), escapes_with_a_session(1), escapes(2, "b")]
"""


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path, FLOW)


def everybody():
    """All processes of this machine, each with when it began: numbers are used again."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE:
                found[process.pid, process.create_time()] = process.ppid()
        except psutil.NoSuchProcess:
            pass
    return found


def started_by(root, everybody):
    """Those below a process, as far as the kernel still knows of whom they came."""
    of = {}
    for key, parent in everybody.items():
        of.setdefault(parent, []).append(key)
    found = list(of.get(root, ()))
    for pid, _ in found:  # grows meanwhile
        found += of.get(pid, ())
    return {*found}


@pytest.mark.parametrize("isolation", ["warm", "fork", "fresh"])
@pytest.mark.parametrize("whom", ["flowrun", "flowrun and its workers", "flowrun, while it is stopped"])
def test_who_escaped_ends_with_flowrun(project, isolation, whom):
    project.write(FLOW.replace("cpus=0.1", f"cpus=0.1, isolation={isolation!r}"))
    project.compile()
    run = project.start("--devices", "1 cores, 4 GiB")
    told = [int(word) for _ in range(3) for word in project.told().split()]
    family = started_by(run.process.pid, everybody())
    assert {*told} <= {pid for pid, _ in family}  # nobody got out of the tree
    if "stopped" in whom:
        run.process.send_signal(signal.SIGSTOP)
    run.process.kill()
    if "workers" in whom:
        for worker in told[::2]:
            with contextlib.suppress(ProcessLookupError):  # its zygote was faster
                os.kill(worker, signal.SIGKILL)
    run.end()
    try:
        assert all(map(is_gone, told))
        assert not still_there(family)
        assert project.processes() == []
    finally:
        for pid, _ in family & everybody().keys():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def still_there(family):
    """Those of a family that do not end before long."""
    deadline = time.monotonic() + 10
    while (left := family & everybody().keys()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left
