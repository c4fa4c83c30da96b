"""Operators that misbehave: each is told what it did, and nobody else is harmed."""

import time

import pytest
from project import Project, is_gone

# Beside what misbehaves, a neighbour runs that has to come out as ever, and so does one that runs afterwards.
FLOW = """
import ctypes, shutil, sys, threading, time
import numpy as np
from flowc import Array

@operator(cpus=1)
def neighbour(k: int) -> float:
    return float(np.arange(1000).sum()) + k

@operator(cpus=1{options})
def bad(k: int) -> {gives}:
{body}

@workflow
def main() -> list[float]:
    result = bad(1)
    sums = [neighbour(k) for k in range(4)]
    return sums
"""
SUMS = [499500.0 + k for k in range(4)]


def project(folder, body, gives="int", options=""):
    lines = "\n".join(f"    {line}" for line in body.strip().splitlines())
    return Project(folder, FLOW.format(options=options, gives=gives, body=lines))


def node(project, name="result"):
    return next(node for node in project.json("show")["nodes"] if node["node"] == name)


def neighbours(project):
    return [node["state"] for node in project.json("show")["nodes"] if node["node"].startswith("sums")]


# What it does, the code that tells of it, words of the sentence.
FAILS = {
    "ends without a result": ("os._exit(0)", "FR202", "status 0 without a result"),
    "asks to end": ("sys.exit(0)", "FR201", "SystemExit"),
    "interrupts itself": ("raise KeyboardInterrupt", "FR201", "KeyboardInterrupt"),
    "crashes": ("ctypes.string_at(0)", "FR202", "SIGSEGV"),
    "kills itself": ("os.kill(os.getpid(), 9)", "FR202", "SIGKILL"),
    "kills its group": ("os.killpg(0, 9)", "FR202", "SIGKILL"),
    "recurses for ever": ("def again(): again()\nagain()", "FR201", "RecursionError"),
    "returns what cannot be stored": ("return threading.Lock()", "FR204", "cannot be stored"),
    "returns another type": ("return 'text'", "FR205", "declares"),
    "closes what is not its own": ("os.closerange(3, 1000)\nreturn 1", None, ""),
}


@pytest.mark.parametrize("case", FAILS)
def test_it_fails_and_its_neighbours_do_not(tmp_path, case):
    body, code, words = FAILS[case]
    found = project(tmp_path, body)
    done = found.execute(status=None)
    assert "Traceback" not in done.stderr.replace("| Traceback", "")  # of ours; that of an operator is quoted
    assert neighbours(found) == ["succeeded"] * 4
    result = node(found)
    assert result["state"] in ("failed", "succeeded")
    if code:
        assert (result["failure"]["code"], done.returncode) == (code, 1)
        assert words in result["failure"]["message"]
        assert f"error[{code}]" in done.stderr
    assert found.processes() == []


WORKS = {
    "writes binary": "sys.stdout.buffer.write(bytes(range(256)) * 100)\nreturn 1",
    "closes its output": "os.close(1)\nos.close(2)\nsys.stdout.close()\nreturn 1",
    "deletes its working directory": "shutil.rmtree(os.getcwd())\nreturn 1",
    "changes everything": (
        "os.chdir('/')\nos.umask(0o777)\nos.environ.clear()\nsys.path.clear()\n"
        "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsys.stdout = None\nreturn 1"
    ),
    "leaves threads": "threading.Thread(target=time.sleep, args=(600,), daemon=True).start()\nreturn 1",
    "leaves a thread that is no daemon": "threading.Thread(target=time.sleep, args=(600,)).start()\nreturn 1",
    "leaves a child": "subprocess.Popen(['sleep', '600'])\nreturn 1",
    "leaves files": "open('x' * 100, 'w').close()\nos.mkdir('deep')\nos.chmod('deep', 0)\nreturn 1",
}


@pytest.mark.parametrize("case", WORKS)
def test_it_works_and_harms_nobody(tmp_path, case):
    found = project(tmp_path, WORKS[case])
    found.execute()
    assert node(found)["state"] == "succeeded"
    assert neighbours(found) == ["succeeded"] * 4
    assert found.flowrun("logs", "main-1", "result").returncode == 0
    assert found.processes() == []


def test_one_that_forks_and_escapes_is_ended_with_its_node(tmp_path):
    body = """
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        os.execvp("sleep", ["sleep", "600"])
    os._exit(0)
os.wait()
children = os.popen("pgrep -f '^sleep 600$'").read()
tell(children.split()[-1])
return 1
"""
    found = project(tmp_path, body)
    run = found.start()
    escaped = int(found.told())
    status, *_ = run.end()
    assert status == 0
    assert is_gone(escaped)


def test_one_that_never_ends_is_ended_by_its_time_limit_though_it_does_not_listen(tmp_path):
    body = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nwhile True: time.sleep(1)"
    found = project(tmp_path, body, options=", timeout='0.3 s'")
    assert "error[FR203]" in found.execute(status=1).stderr
    assert neighbours(found) == ["succeeded"] * 4
    assert found.processes() == []


@pytest.mark.slow
def test_one_that_prints_a_gigabyte(tmp_path):
    """All goes on beside it, and of what it printed the beginning and the end are kept."""
    body = "for k in range(1000): print(f'{k:>7} ' * 131_072)\nprint('the end')\nreturn 1"
    found = project(tmp_path, body)
    found.execute()
    (log,) = (tmp_path / ".flow/runs/main-1/logs").glob("result*")
    assert log.stat().st_size < 100 * 1024 * 1024
    text = found.flowrun("logs", "main-1", "result").stdout
    assert text.startswith("      0")
    assert text.rstrip().endswith("the end")
    assert neighbours(found) == ["succeeded"] * 4


def test_one_that_eats_all_memory_is_told_apart(tmp_path):
    body = "held = []\nwhile True:\n    held.append(np.ones(2_000_000))\n    time.sleep(0.002)"
    found = project(tmp_path, body, options=", memory='100 MB'")
    done = found.execute("--devices", "2 cores, 600 MiB", status=1)
    assert "error[FR214]" in done.stderr
    assert node(found)["attempt"] > 1  # it was tried with more, up to what there is
    assert neighbours(found) == ["succeeded"] * 4
    assert found.processes() == []


@pytest.mark.parametrize("jump_s", [-3600, 3600])
def test_a_clock_that_jumps_ends_nothing_and_holds_nothing_up(tmp_path, jump_s, monkeypatch):
    """Half a second after the start, the wall clock is another."""
    (tmp_path / "sitecustomize.py").write_text(
        "import time\n"
        "true, began = time.time_ns, time.monotonic()\n"
        f"time.time_ns = lambda: true() + ({jump_s} * 10**9 if time.monotonic() > began + 0.5 else 0)\n"
        "time.time = lambda: time.time_ns() / 1e9\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    found = project(tmp_path, "time.sleep(1.2)\nreturn 1", options=", timeout='60 s'")
    began = time.monotonic()
    found.execute()
    assert time.monotonic() - began < 30
    shown = node(found)
    assert shown["state"] == "succeeded"
    assert 1000 <= shown["wall_ms"] < 30_000
