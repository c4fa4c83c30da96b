"""What operators' hashes depend on: a change that matters is seen, and only that, wherever the code lies."""

# ruff: noqa: E401, E501, F401, I001 - a case a line; imports that are only looked at

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from flowc.code import fingerprint
from flowc.code.fingerprint import code_of, imports_of
from flowc.plan.parts import combined

HEAD = "from flowc import operator\n"
OPERATOR = "@operator\ndef op(x: int = 1) -> int:\n    return {}\n"


class Sources:
    """A folder of modules, `flow` with the operator `op` among them."""

    def __init__(self, project):
        self.project = project

    def code(self, files, name="op"):
        for path, text in files.items():
            self.project.write(path, text)
        self.project.forget()
        sys.path[:] = [str(self.project.folder), *sys.path]
        return code_of(getattr(importlib.import_module("flow"), name).fn)

    def changed(self, before, after):
        """The parts that differ between two states of the sources; both have the operator."""
        old, new = self.code(before), self.code({**before, **after})
        assert (old.hash == new.hash) == (old.parts == new.parts)
        return {
            name for name in old.parts.keys() | new.parts.keys() if old.parts.get(name) != new.parts.get(name)
        }


@pytest.fixture
def sources(project):
    return Sources(project)


def flow(body, expression="helper(x)"):
    return HEAD + body + "\n" + OPERATOR.format(expression)


# name: the files, the files that change, and the parts that are other afterwards
CHANGES = {
    "the operator": ({"flow.py": flow("", "x")}, {"flow.py": flow("", "x + 1")}, {"flow:op"}),
    "a default": (
        {"flow.py": flow("", "x")},
        {"flow.py": flow("", "x").replace("= 1", "= 2")},
        {"default x"},
    ),
    "an annotation": (
        {"flow.py": flow("", "x")},
        {"flow.py": flow("", "x").replace("x: int", "x: float")},
        {"flow:op"},
    ),
    "a helper": (
        {"flow.py": flow("def helper(x):\n    return x")},
        {"flow.py": flow("def helper(x):\n    return 2 * x")},
        {"flow:helper"},
    ),
    "a helper's helper": (
        {"flow.py": flow("def helper(x):\n    return inner(x)\ndef inner(x):\n    return x")},
        {"flow.py": flow("def helper(x):\n    return inner(x)\ndef inner(x):\n    return -x")},
        {"flow:inner"},
    ),
    "a helper's default": (
        {"flow.py": flow("def helper(x, by=2):\n    return x * by")},
        {"flow.py": flow("def helper(x, by=3):\n    return x * by")},
        {"flow:helper"},
    ),
    "recursion": (
        {"flow.py": flow("def helper(x):\n    return even(x)\ndef even(x):\n    return x == 0 or odd(x - 1)\ndef odd(x):\n    return even(x - 1)")},
        {"flow.py": flow("def helper(x):\n    return even(x)\ndef even(x):\n    return x == 0 or odd(x - 1)\ndef odd(x):\n    return x and even(x - 1)")},
        {"flow:odd"},
    ),
    "a lambda": (
        {"flow.py": flow("helper = lambda x: inner(x)\ndef inner(x):\n    return x")},
        {"flow.py": flow("helper = lambda x: inner(x)\ndef inner(x):\n    return -x")},
        {"flow:inner"},
    ),
    "a partial": (
        {"flow.py": flow("import functools\ndef scale(x, by):\n    return x * by\nhelper = functools.partial(scale, by=2)")},
        {"flow.py": flow("import functools\ndef scale(x, by):\n    return x + by\nhelper = functools.partial(scale, by=2)")},
        {"flow:scale"},
    ),
    "what a partial binds": (
        {"flow.py": flow("import functools\ndef scale(x, by):\n    return x * by\nhelper = functools.partial(scale, by=2)")},
        {"flow.py": flow("import functools\ndef scale(x, by):\n    return x * by\nhelper = functools.partial(scale, by=3)")},
        {"flow:helper"},
    ),
    "what a function closes over": (
        {"flow.py": flow("def make(by):\n    def scale(x):\n        return x * by\n    return scale\nhelper = make(2)")},
        {"flow.py": flow("def make(by):\n    def scale(x):\n        return x * by\n    return scale\nhelper = make(3)")},
        {"flow:helper"},
    ),
    "a constant": ({"flow.py": flow("RATE = 0.1", "x * RATE")}, {"flow.py": flow("RATE = 0.2", "x * RATE")}, {"flow:RATE"}),
    "a table": (
        {"flow.py": flow("TABLE = {'a': [1, 2], 'b': (3,)}", "TABLE['a'][0]")},
        {"flow.py": flow("TABLE = {'a': [1, 2], 'b': (4,)}", "TABLE['a'][0]")},
        {"flow:TABLE"},
    ),
    "a constant made of others": (
        {"flow.py": flow("A = 1\nB = A + 1", "B")}, {"flow.py": flow("A = 2\nB = A + 1", "B")}, {"flow:A"}
    ),
    "several at once": ({"flow.py": flow("A, B = 1, 2", "B")}, {"flow.py": flow("A, B = 1, 3", "B")}, {"flow:B"}),
    "a global bound again": (
        {"flow.py": flow("A = 1\nA = A + 1", "A")}, {"flow.py": flow("A = 1\nA = A + 2", "A")}, {"flow:A"}
    ),
    "a global added to": ({"flow.py": flow("A = 1\nA += 1", "A")}, {"flow.py": flow("A = 1\nA += 2", "A")}, {"flow:A"}),
    "a table changed by a call": (
        {"flow.py": flow("A = {}\nA.update(b=1)", "A")}, {"flow.py": flow("A = {}\nA.update(b=2)", "A")}, {"flow:A"}
    ),
    "a table's item": (
        {"flow.py": flow("A = {}\nA['b'] = 1", "A")}, {"flow.py": flow("A = {}\nA['b'] = 2", "A")}, {"flow:A"}
    ),
    "a table filled in a loop": (
        {"flow.py": flow("A = {}\nfor i in range(2):\n    A[i] = i", "A")},
        {"flow.py": flow("A = {}\nfor i in range(3):\n    A[i] = i", "A")},
        {"flow:A"},
    ),
    "the condition of a constant": (
        {"flow.py": flow("import sys\nif sys.maxsize > 1:\n    A = 1\nelse:\n    A = 2", "A")},
        {"flow.py": flow("import sys\nif sys.maxsize > 2:\n    A = 1\nelse:\n    A = 2", "A")},
        {"flow:A"},
    ),
    "an attempt": (
        {"flow.py": flow("try:\n    import nothing_there as impl\nexcept ImportError:\n    impl = None", "impl")},
        {"flow.py": flow("try:\n    import nothing_there as impl\nexcept ImportError:\n    impl = 1", "impl")},
        {"flow:impl"},
    ),
    "an enumeration": (
        {"flow.py": flow("import enum\nclass Mode(enum.Enum):\n    A = 1", "Mode.A.value")},
        {"flow.py": flow("import enum\nclass Mode(enum.Enum):\n    A = 2", "Mode.A.value")},
        {"flow:Mode"},
    ),
    "a method": (
        {"flow.py": flow("class Base:\n    def go(self, x):\n        return x\nclass Model(Base):\n    pass", "Model().go(x)")},
        {"flow.py": flow("class Base:\n    def go(self, x):\n        return -x\nclass Model(Base):\n    pass", "Model().go(x)")},
        {"flow:Base"},
    ),
    "what a method calls": (
        {"flow.py": flow("class Model:\n    def go(self, x):\n        return Other().go(x)\nclass Other:\n    def go(self, x):\n        return x", "Model().go(x)")},
        {"flow.py": flow("class Model:\n    def go(self, x):\n        return Other().go(x)\nclass Other:\n    def go(self, x):\n        return -x", "Model().go(x)")},
        {"flow:Other"},
    ),
    "a method of a class that a parameter is of": (
        {"flow.py": HEAD + "class Data:\n    def size(self):\n        return 1\n@operator\ndef op(x: 'list[Data]'):\n    return x[0].size()\n"},
        {"flow.py": HEAD + "class Data:\n    def size(self):\n        return 2\n@operator\ndef op(x: 'list[Data]'):\n    return x[0].size()\n"},
        {"flow:Data"},
    ),
    "an own decorator": (
        {"flow.py": HEAD + "import functools\ndef twice(fn):\n    @functools.wraps(fn)\n    def run(x):\n        return fn(fn(x))\n    return run\n@operator\n@twice\ndef op(x: int):\n    return x\n"},
        {"flow.py": HEAD + "import functools\ndef twice(fn):\n    @functools.wraps(fn)\n    def run(x):\n        return fn(fn(fn(x)))\n    return run\n@operator\n@twice\ndef op(x: int):\n    return x\n"},
        {"flow:twice"},
    ),
    "what an own decorator is given": (
        {"flow.py": HEAD + "def times(n):\n    return lambda fn: fn\n@operator\n@times(2)\ndef op(x: int):\n    return x\n"},
        {"flow.py": HEAD + "def times(n):\n    return lambda fn: fn\n@operator\n@times(3)\ndef op(x: int):\n    return x\n"},
        {"flow:op"},
    ),
    "a helper's decorator": (
        {"flow.py": flow("def twice(fn):\n    return lambda x: fn(fn(x))\n@twice\ndef helper(x):\n    return x")},
        {"flow.py": flow("def twice(fn):\n    return lambda x: fn(x)\n@twice\ndef helper(x):\n    return x")},
        {"flow:twice"},
    ),
    "an implementation for a type": (
        {"flow.py": flow("import functools\n@functools.singledispatch\ndef helper(x):\n    return x\n@helper.register\ndef _(x: int):\n    return 1")},
        {"flow.py": flow("import functools\n@functools.singledispatch\ndef helper(x):\n    return x\n@helper.register\ndef _(x: int):\n    return 2")},
        {"flow:helper"},
    ),
    "another operator": (
        {"flow.py": HEAD + "@operator\ndef other(x: int) -> int:\n    return x\n" + OPERATOR.format("other.fn(x)")},
        {"flow.py": HEAD + "@operator\ndef other(x: int) -> int:\n    return -x\n" + OPERATOR.format("other.fn(x)")},
        {"flow:other"},
    ),
    "a nested function's helper": (
        {"flow.py": HEAD + "def helper(x):\n    return x\n@operator\ndef op(x: int):\n    def inner():\n        return [helper(y) for y in range(x)]\n    return inner()\n"},
        {"flow.py": HEAD + "def helper(x):\n    return -x\n@operator\ndef op(x: int):\n    def inner():\n        return [helper(y) for y in range(x)]\n    return inner()\n"},
        {"flow:helper"},
    ),
    "a global read where a nested function has a local": (
        {"flow.py": HEAD + "A = 1\n@operator\ndef op(x: int):\n    def inner():\n        A = 2\n        return A\n    return A + inner()\n"},
        {"flow.py": HEAD + "A = 3\n@operator\ndef op(x: int):\n    def inner():\n        A = 2\n        return A\n    return A + inner()\n"},
        {"flow:A"},
    ),
    "a global written in a function": (
        {"flow.py": HEAD + "A = 1\n@operator\ndef op(x: int):\n    global A\n    A += 1\n"},
        {"flow.py": HEAD + "A = 3\n@operator\ndef op(x: int):\n    global A\n    A += 1\n"},
        {"flow:A"},
    ),
    "what a name is imported from": (
        {"flow.py": flow("from math import sin as f", "f(x)")}, {"flow.py": flow("from math import cos as f", "f(x)")}, {"flow:op"}
    ),
}  # fmt: skip

HELPERS = "def clean(x):\n    return strip(x)\ndef strip(x):\n    return x\n"
OTHER_HELPERS = HELPERS.replace("return x\n", "return -x\n")
# How an operator gets at `clean`, and what is in other files for it.
WAYS = {
    "from": (flow("from helpers import clean", "clean(x)"), {}),
    "from, renamed": (flow("from helpers import clean as c", "c(x)"), {}),
    "module": (flow("import helpers", "helpers.clean(x)"), {}),
    "module, renamed": (flow("import helpers as h", "h.clean(x)"), {}),
    "star": (flow("from helpers import *", "clean(x)"), {}),
    "in the body": (flow("", "__import__('os') and clean(x)").replace("    return", "    from helpers import clean\n    return"), {}),
    "module in the body": (flow("", "h.clean(x)").replace("    return", "    import helpers as h\n    return"), {}),
    "in a nested function": (flow("", "(lambda: h.clean(x))()").replace("    return", "    import helpers as h\n    return"), {}),
    "either": (flow("try:\n    import helpers as h\nexcept ImportError:\n    import json as h", "h.clean(x)"), {}),
    "only for checking types": (flow("from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from helpers import clean", "clean(x)"), {}),
    "through a package": (flow("import pkg", "pkg.clean(x)"), {"pkg/__init__.py": "from helpers import clean"}),
    "through a package's star": (flow("from pkg import *", "clean(x)"), {"pkg/__init__.py": "from helpers import *"}),
    "a chain": (flow("import pkg.a.b", "pkg.a.b.clean(x)"), {"pkg/__init__.py": "", "pkg/a/__init__.py": "", "pkg/a/b.py": "from helpers import clean"}),
    "a relative chain": (flow("from pkg.a import b", "b.clean(x)"), {"pkg/__init__.py": "from helpers import clean", "pkg/a/__init__.py": "", "pkg/a/b.py": "from .. import clean"}),
    "a folder without init": (flow("import space.a", "space.a.clean(x)"), {"space/a.py": "from helpers import clean"}),
    "through another's import": (flow("import pkg", "pkg.helpers.clean(x)"), {"pkg/__init__.py": "import helpers"}),
    "the module as a value": (flow("import helpers", "getattr(helpers, 'cle' + 'an')(x)"), {}),
    "the module's name": (flow("import importlib", "importlib.import_module('pkg.late').clean(x)"), {"pkg/__init__.py": "", "pkg/late.py": "from helpers import clean\nclean"}),
    "the function's name": (flow("KNOWN = {'c': 'pkg.late:clean'}", "KNOWN['c']"), {"pkg/__init__.py": "", "pkg/late.py": "from helpers import clean"}),
    "a lazy module": (flow("import pkg", "pkg.clean(x)"), {"pkg/__init__.py": "def __getattr__(name):\n    import helpers\n    return helpers.clean"}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES)
def test_what_changes_is_seen_and_named(sources, change):
    before, after, expected = CHANGES[change]
    assert before != after
    assert sources.changed(before, after) == expected


@pytest.mark.parametrize("way", WAYS)
def test_helpers_in_other_modules_are_found(sources, way):
    text, files = WAYS[way]
    changed = sources.changed(
        {"flow.py": text, "helpers.py": HELPERS, **files}, {"helpers.py": OTHER_HELPERS}
    )
    assert changed in ({"helpers:strip"}, {"helpers"})  # of a module that is used as a value, all counts


SAME = {
    "a line's place": ("def helper(x):\n    return x", "\n\n# more\nimport json\n\ndef helper(x):\n    return x"),
    "the order of definitions": ("A = 1\ndef helper(x):\n    return A", "def helper(x):\n    return A\nA = 1"),
    "a comment, a docstring and layout": ("def helper(x):\n    return x", "def helper( x ):\n    '''Says.'''\n    # why\n    return (x)"),
    "a docstring of a class": ("class helper(int):\n    '''One.'''", "class helper(int):\n    '''Two.'''"),
    "the spelling of a constant": ("A = {'a': 1_000}\ndef helper(x):\n    return A", 'A = {\n    "a": 1000,\n}\ndef helper(x):\n    return A'),
    "what is not reached": ("def helper(x):\n    return x\ndef other():\n    return 1", "def helper(x):\n    return x\ndef other():\n    return 2"),
    "a global with a local's name": ("y = 1\ndef helper(x):\n    y = x\n    return y", "y = 2\ndef helper(x):\n    y = x\n    return y"),
    "a global with the name of an attribute": ("y = 1\ndef helper(x):\n    return x.y", "y = 2\ndef helper(x):\n    return x.y"),
    "a global with a keyword's name": ("by = 1\ndef helper(x):\n    return dict(by=x)", "by = 2\ndef helper(x):\n    return dict(by=x)"),
    "a global with a comprehension's variable": ("y = 1\ndef helper(x):\n    return [y for y in x]", "y = 2\ndef helper(x):\n    return [y for y in x]"),
    "what only a script does": ("def helper(x):\n    return x", "def helper(x):\n    return x\nif __name__ == '__main__':\n    print(helper(1))"),
    "the module's docstring": ("def helper(x):\n    return x", "'''Says.'''\ndef helper(x):\n    return x"),
}  # fmt: skip


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_matter(sources, change):
    before, after = ({"flow.py": flow(body)} for body in SAME[change])
    assert before != after
    assert sources.changed(before, after) == set()


def test_what_the_operator_declares_does_not_matter(sources):
    plain = flow("def helper(x):\n    return x")
    declared = plain.replace("@operator", "@operator(\n    cpus=2,\n    memory='1GB',  # much\n)")
    assert sources.changed({"flow.py": plain}, {"flow.py": declared}) == set()
    through_the_module = plain.replace("from flowc import operator", "import flowc").replace(
        "@op", "@flowc.op"
    )
    assert sources.changed({"flow.py": plain}, {"flow.py": through_the_module}) == set()


def test_the_hash_follows_from_the_parts(sources):
    code = sources.code({"flow.py": flow("def helper(x):\n    return x")})
    assert list(code.parts) == ["default x", "flow:helper", "flow:op"]
    assert code.hash == combined(code.parts)
    assert all(len(digest) == 16 and int(digest, 16) >= 0 for digest in [code.hash, *code.parts.values()])


PACKAGES = {
    "in the body": (flow("", "np").replace("    return", "    import numpy as np\n    return"), ("numpy",)),
    "above": (flow("import numpy as np", "np.zeros(x)"), ("numpy",)),
    "a part of one": (flow("from sklearn.tree import DecisionTreeClassifier as T", "T()"), ("sklearn",)),
    "above, not used": (flow("import numpy as np", "x"), ()),
    "in a helper": (flow("def helper(x):\n    import numpy.linalg\n    return x"), ("numpy",)),
    "either": (flow("try:\n    import msgspec as m\nexcept ImportError:\n    import orjson as m", "m"), ("msgspec", "orjson")),
    "not there": (flow("", "x").replace("    return", "    import nothing_at_all\n    return"), ("nothing_at_all",)),
    "Python's own": (flow("import json\nimport os.path", "json.dumps(os.path.sep)"), ()),
    "ours": (flow("from flowc import Array", "Array").replace("    return", "    import flowserve.core\n    return"), ("flowserve",)),
    "a star": (flow("from msgspec import *", "Struct"), ("msgspec",)),
}  # fmt: skip


@pytest.mark.parametrize("case", PACKAGES)
def test_packages_are_named(sources, case):
    text, expected = PACKAGES[case]
    assert sources.code({"flow.py": text}).packages == expected


def test_what_is_installed_counts_by_its_name_only(sources, project):
    site = project.folder / "lib" / "site-packages"
    sys.path.append(str(site))
    files = {
        "flow.py": flow("import acme", "acme.helper(x)"),
        "lib/site-packages/acme.py": "def helper(x):\n    return x",
    }
    assert sources.changed(files, {"lib/site-packages/acme.py": "def helper(x):\n    return -x"}) == set()
    assert sources.code(files).packages == ("acme",)


def test_an_installed_operator_reads_its_own_package(sources, project):
    site = project.folder / "lib" / "site-packages"
    files = {
        "lib/site-packages/acme/__init__.py": "",
        "lib/site-packages/acme/ops.py": flow("from acme.inner import helper"),
        "lib/site-packages/acme/inner.py": "def helper(x):\n    return x",
        "flow.py": "from acme.ops import op",
    }
    sys.path.append(str(site))
    assert sources.changed(files, {"lib/site-packages/acme/inner.py": "def helper(x):\n    return -x"}) == {
        "acme.inner:helper"
    }


def test_own_compiled_code_is_only_named(sources, project):
    project.write("fast.cpython-311-x86_64-linux-gnu.so", "")
    text = flow("", "fast.go(x)").replace("    return", "    import fast\n    return")
    code = sources.code({"flow.py": text})
    assert set(code.parts) == {"default x", "flow:op"}
    assert code.packages == ("fast",)


def test_modules_that_import_from_each_other(sources):
    files = {
        "flow.py": flow("from one import helper"),
        "one.py": "from two import helper, other",
        "two.py": "from one import other\ndef helper(x):\n    return other",
    }
    for path, text in files.items():
        sources.project.write(path, text)
    (sources.project.folder / "one.py").write_text("other = 1\nfrom two import helper, other")
    code = sources.code({})
    assert set(code.parts) == {"default x", "flow:op", "one:other", "two:helper"}


MADE = """
from flowc import operator
def make(name, by):
    def scale(x: int) -> int:
        return helper(x) * by
    scale.__name__ = scale.__qualname__ = name
    return operator(scale)
def helper(x):
    return x
for name, by in (("double", 2), ("triple", {triple})):
    globals()[name] = make(name, by)
"""


def test_an_operator_without_a_name_of_its_own_has_its_closure(sources):
    one = sources.code({"flow.py": MADE.format(triple=3)}, "triple")
    two = sources.code({"flow.py": MADE.format(triple=4)}, "triple")
    assert set(one.parts) == {"closure by", "flow:helper", "flow:triple"}
    assert {name for name in one.parts if one.parts[name] != two.parts[name]} == {"closure by"}


def test_code_without_source_has_a_hash():
    names = {"__name__": "made_up"}
    exec("def made(): return 1", names)
    assert len(code_of(names["made"]).hash) == 16
    assert imports_of(names["made"]) == ()


PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python"))
# `flowc/__init__.py` needs nothing, so that the pure function can be asked where msgspec is not installed.
ASK = """
import sys
sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from flowc.code.fingerprint import code_of
import flow
print(code_of(flow.op).hash, "pkg.late" in sys.modules)
"""


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parent.parent.name)
def test_every_process_finds_the_same_hash_and_imports_nothing(python, sources):
    files = {
        "flow.py": "def op(x: 'list[int]' = ()):\n    import pkg.late\n    return f'{pkg.late.clean(x)!r:>{x}}'\n",
        "pkg/__init__.py": "raise SystemExit('imported')",
        "pkg/late.py": HELPERS,
    }
    for path, text in files.items():
        sources.project.write(path, text)
    sys.path.insert(0, str(sources.project.folder))
    here = code_of(importlib.import_module("flow").op)
    assert set(here.parts) == {"default x", "flow:op", "pkg.late:clean", "pkg.late:strip"}
    root = str(Path(fingerprint.__file__).parent.parent.parent)
    command = [python, "-c", ASK, root, str(sources.project.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [here.hash, "False"]


def test_imports_in_the_body():
    def op():
        import json
        import numpy as np
        import xml.dom
        import sklearn.tree, numpy.linalg
        from os import path
        from torch import nn, optim as o

        if json:
            from sklearn.datasets import load_iris

            def inner():
                import onnx

    assert imports_of(op) == (
        "numpy", "numpy.linalg", "onnx", "sklearn.datasets:load_iris", "sklearn.tree", "torch:nn", "torch:optim"
    )  # fmt: skip
