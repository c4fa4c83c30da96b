"""Modules in a process of their own: what they do to it, and what is told of it."""

import os
import sys
import textwrap

import pytest

from flowc.checks.committed import Committed
from flowc.checks.modules import Checked, Imported, Target, check_modules
from flowc.plan.diagnostics import in_order

HEAD = "import os, sys\nfrom ops import *\n"
FINE = "@workflow\ndef {}():\n    return fit(load('a'))\n"
WRONG = "@workflow\ndef {}():\n    return fit(load(3))\n"
LIMIT_S = 30.0


@pytest.fixture
def check(project):
    """Check sources, each in a file of its own; what was found, as `file:workflow CODE place: message`."""

    def check(timeout_s=LIMIT_S, **sources):
        for name, source in sources.items():
            project.write(f"{name}.py", HEAD + textwrap.dedent(source))
        targets = [Target(f"{name}.py") for name in sources]
        return [line for message in check_modules(targets, timeout_s) for line in lines(message)]

    return check


def lines(message):
    if isinstance(message, Imported):
        return []
    if not message.diagnostics:
        return [f"{message.reference} fine"]
    return [
        f"{message.reference} {d.code} {d.labels[0].place}: {d.message}"
        for d in in_order(message.diagnostics)
    ]


def test_every_workflow_of_every_module(check):
    sources = {"a": FINE.format("one") + WRONG.format("two"), "b": WRONG.format("main")}
    assert check(**sources) == [
        "a.py:one fine",
        "a.py:two FC101 a.py:8:21: `load` expects `str` for `path`, got `int`",
        "b.py:main FC101 b.py:5:21: `load` expects `str` for `path`, got `int`",
    ]


def test_a_workflow_tells_its_warnings_beside_what_is_wrong(check, project):
    unused = "@operator(deterministic=True)\ndef twice(x: int) -> int:\n    return 2 * x\n"
    unused += "@workflow\ndef main(n: Static[int] = 1):\n    twice(n)\n"
    project.write("a.py", "from flowc import Static, operator, workflow\n" + unused)
    project.write("a.plan.jsonl", "is another\n")
    plan = Committed("a.plan.jsonl", ".", "a:main", {"n": 2})
    checked, _ = check_modules([Target("a.py", (plan,))], LIMIT_S)
    assert checked.failed
    assert [(d.code, d.severity) for d in checked.diagnostics] == [("FC210", "warning"), ("FC209", "error")]
    checked, _ = check_modules([Target("a.py")], LIMIT_S)
    assert not checked.failed
    assert [(d.code, d.severity) for d in checked.diagnostics] == [("FC210", "warning")]


def test_only_workflows_that_the_module_defines_each_once(check):
    b = "from a import one\nimport a\nagain = one\n" + FINE.format("two") + "alias = two\n"
    assert check(a=FINE.format("one"), b=b) == ["a.py:one fine", "b.py:two fine"]


def test_modules_that_do_not_import(check):
    assert check(
        a="def f(:\n", b="import nothing\n", c="raise SystemExit(0)\n", d="1 / 0\n", e=FINE.format("main")
    ) == [
        "a.py FC003 a.py:3:7: `a` does not import: SyntaxError: invalid syntax",
        "b.py FC003 b.py:3: `b` does not import: ModuleNotFoundError: No module named 'nothing'",
        "c.py FC003 c.py:3: `c` does not import: SystemExit: 0",
        "d.py FC003 d.py:3: `d` does not import: ZeroDivisionError: division by zero",
        "e.py:main fine",
    ]


@pytest.mark.parametrize(
    ("does", "said"),
    [
        ("os._exit(0)", "ended Python with exit status 0"),
        ("os._exit(7)", "ended Python with exit status 7"),
        ("os.kill(os.getpid(), 9)", "died of SIGKILL"),
        ("os.kill(os.getpid(), 40)", "died of signal 40"),
        ("raise KeyboardInterrupt", "raised `KeyboardInterrupt`"),
        ("raise GeneratorExit", "raised `GeneratorExit`"),
    ],
)
def test_what_ends_the_process_costs_only_itself(check, does, said):
    a = FINE.format("before") + f"@workflow\ndef main():\n    {does}\n" + FINE.format("after")
    found = check(a=a, b=does, c=FINE.format("main"))
    at = ":8" if "raise" in does else ":7"
    assert found == [
        "a.py:before fine",
        f"a.py:main FC006 a.py{at}: `a.py` {said} while `main` was traced",
        "a.py:after fine",
        f"b.py FC006 b.py{':3' if 'raise' in does else ''}: `b.py` {said} while it was imported",
        "c.py:main fine",
    ]


def test_what_does_not_come_to_its_end(check):
    forever = "while True: len('')\n"
    a = FINE.format("before") + f"@workflow\ndef main():\n    {forever}" + FINE.format("after")
    assert check(timeout_s=0.5, a=a, b=forever, c=FINE.format("main")) == [
        "a.py:before fine",
        "a.py:main FC006 a.py:8: `a.py` did not come to its end within 0.5 s while `main` was traced",
        "a.py:after fine",
        "b.py FC006 b.py:3: `b.py` did not come to its end within 0.5 s while it was imported",
        "c.py:main fine",
    ]


def test_what_evades_the_time_limit_is_ended(check, monkeypatch):
    monkeypatch.setattr("flowc.checks.modules._GRACE_S", 0.0)
    stubborn = """
        import signal
        signal.setitimer(signal.ITIMER_REAL, 0)
        while True: len('')
    """
    assert check(timeout_s=0.5, a=stubborn, b=FINE.format("main")) == [
        "a.py FC006 a.py: `a.py` did not come to its end within 0.5 s while it was imported",
        "b.py:main fine",
    ]


def test_what_is_left_running_is_ended(check, project):
    leaves = """
        import subprocess
        with open("pid", "w") as file:
            print(subprocess.Popen(["sleep", "1000"]).pid, file=file)
        if not os.fork():  # holds the pipe open
            import time
            time.sleep(1000)
        os._exit(1)
    """
    assert check(a=leaves, b=FINE.format("main")) == [
        "a.py FC006 a.py: `a.py` ended Python with exit status 1 while it was imported",
        "b.py:main fine",
    ]
    pid = int((project.folder / "pid").read_text())
    assert not running(pid)


def running(pid):
    """Whether a process is still doing something; one that nobody has waited for is not."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_standard_input_is_empty(check):
    assert check(a="assert os.read(0, 1) == b''\n" + FINE.format("main")) == ["a.py:main fine"]


def test_texts_that_are_no_unicode(check):
    (found,) = check(a="raise ValueError('\\udc80')\n")
    assert found == "a.py FC003 a.py:3: `a` does not import: ValueError: \\udc80"


def test_the_checking_process_stays_as_it_is(check, project):
    modules, path = set(sys.modules), list(sys.path)
    a = "os.environ['CHECKED'] = 'yes'\nos.chdir('/')\nsys.path.clear()\n"
    check(a=a)
    assert set(sys.modules) == modules
    assert sys.path == path
    assert os.getcwd() == str(project.folder)
    assert "CHECKED" not in os.environ
    assert not list(project.folder.rglob("__pycache__"))


def test_what_was_imported(project):
    project.write("a.py", "import json\nfrom ops import *\n" + FINE.format("main"))
    checked, imported = check_modules([Target("a.py")], LIMIT_S)
    assert isinstance(checked, Checked)
    assert imported == Imported((str(project.folder / "a.py"), str(project.folder / "ops.py")))


def test_nothing_to_check():
    assert list(check_modules([], LIMIT_S)) == []
