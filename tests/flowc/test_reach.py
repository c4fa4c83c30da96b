"""What a workflow reaches, and where that is unknown; what changes a trace is in `test_incremental`."""

import pytest

from flowc.reach import reach_of
from flowc.source import load
from flowc.walk import Unknown

HEAD = """
from flowc import operator, workflow, foreach, when
{before}

@operator
def step(x: object = None) -> int:
    return 1

@workflow
def sub(x):
    {body}
"""

KNOWN = {
    "numbers": ("return step(3 + len('abc'))", ""),
    "libraries that are pure": ("return step(math.floor(json.loads('1.5')))", "import json, math"),
    "an import of such a library": ("from math import floor\n    return step(floor(1.5))", ""),
    "the language": ("return when(step(), lambda: foreach(step, [x]), 1)", ""),
    "an enumeration": ("return step(A.X.value)", "import enum\nclass A(enum.IntFlag):\n    X = 1"),
    "a dataclass": (
        "return step(A(1).x)",
        "from dataclasses import dataclass\n@dataclass(frozen=True)\nclass A:\n    x: int",
    ),
    "a NamedTuple": (
        "return step(A(1).x)",
        "from typing import NamedTuple\nclass A(NamedTuple):\n    x: int",
    ),
    "an abstract class": ("return step(A)", "import abc\nclass A(abc.ABC):\n    def f(self): ..."),
    "a pattern": ("return step(P.match('a') is None)", "import re\nP = re.compile('a')"),
    "a path": ("return step(str(P / 'x'))", "from pathlib import Path\nP = Path('a')"),
    "a method with super": (
        "return step(B(1).x)",
        "class A:\n    x = 1\nclass B(A):\n    def __init__(self, x): super().__init__()",
    ),
    "a method that a decorator of a library wraps": (
        "return step(str(A()))",
        "import functools\nclass A:\n    @functools.wraps(len)\n    def __str__(self): return 'x'",
    ),
    "recursion": ("return sub(x - 1) if x else step()", ""),
}
UNKNOWN = {
    "the environment": ("return step(os.environ['A'])", "import os"),
    "chance": ("return step(random.random())", "import random"),
    "the clock": ("return step(time.time())", "import time"),
    "today": ("return step(D.today())", "import datetime\nD = datetime.date(2024, 1, 1)"),
    "a file": ("return step(open('x').read())", ""),
    "a path that is read": ("return step(P.exists())", "from pathlib import Path\nP = Path('a')"),
    "an import": ("import numpy\n    return step(numpy.pi)", ""),
    "a library": ("return step(numpy.pi)", "import numpy"),
    "the code of text": ("return step(eval('1'))", ""),
    "an attribute by name": ("return step(getattr(x, 'y'))", ""),
    "a function's inside": ("return step(step.fn())", ""),
    "an object of a library": ("return step(C.total())", "import collections\nC = collections.Counter()"),
    "an iterator": ("return step(next(I))", "import itertools\nI = itertools.count()"),
    "a module as a value": ("return step(str(math))", "import math"),
    "builtins": ("return step(builtins.open)", "import builtins"),
    "a method that a library wraps": (
        "return step(str(A()))",
        "import reprlib\nclass A:\n    @reprlib.recursive_repr()\n    def __repr__(self): return 'x'",
    ),
    "an attribute by name, imported": (
        "from operator import attrgetter\n    return step(attrgetter('y')(x))",
        "",
    ),
    "an attribute by name, of an import": (
        "import operator\n    return step(operator.attrgetter('y')(x))",
        "",
    ),
    "an attribute by name, of a library": ("return step(o.attrgetter('y')(x))", "import operator as o"),
    "an attribute by name, of an import that is passed on": (
        "import operator\n    return step(get(operator)(x))",
        "def get(m): return m.attrgetter('y')",
    ),
    "an attribute by name, of another name": (
        "return step(get('y')(x))",
        "from operator import attrgetter as get",
    ),
    "an identity": ("return step(id(x))", ""),
}


@pytest.fixture
def reach(project):
    def reach(body, before=""):
        project.write("flow.py", HEAD.format(body=body, before=before))
        return reach_of(load("flow.py:sub").workflow)

    return reach


@pytest.mark.parametrize("case", KNOWN)
def test_known(reach, case):
    first, again = reach(*KNOWN[case]), reach(*KNOWN[case])
    assert first.hash == again.hash
    assert first.state() == again.state()
    assert first.holds()


@pytest.mark.parametrize("case", UNKNOWN)
def test_unknown(reach, case):
    with pytest.raises(Unknown):
        reach(*UNKNOWN[case])


def test_the_hash_is_that_of_any_process(reach, project):
    """Nothing of it depends on addresses, the seed of hashes, or the folder."""
    body, before = "return step(L if x in {'a', 'b'} else A)", "L = ['a']\nclass A: pass"
    assert reach(body, before).hash == reach(body, before).hash
    import subprocess
    import sys

    show = (
        "from flowc.reach import reach_of; from flow import sub; r = reach_of(sub); print(r.hash, r.state())"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", show],
            cwd=project.folder,
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


def test_where_functions_begin_and_which_operators_there_are(reach):
    found = reach("return helped(x)", "def helped(x):\n    return step(x)")
    assert [function for _, function in sorted(found.lines)] == ["helped", "sub"]
    assert [*found.operators] == ["flow:step"]


def test_what_changes_is_noticed(reach):
    found = reach("return step([L, N])", "L = [1]\nN = 1")
    import flow

    state = found.state()
    flow.L.append(2)
    assert found.state() != state
    assert found.holds()
    flow.N = 2
    assert not found.holds()
