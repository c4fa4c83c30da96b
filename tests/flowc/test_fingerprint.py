"""Hashes of operators' sources: blind to what does not matter, not to what does, equal on every Python."""

# ruff: noqa: E401, E501, F401, I001 - a case a line; imports that are only looked at

import importlib.util
import linecache
import subprocess
import sys
from pathlib import Path

import pytest

from flowc import fingerprint
from flowc.fingerprint import code_hash, imports_of

PLAIN = '''
def op(a: int, b: str = "#") -> int:
    text = """one

    two   # no comment
    """
    if a:
        return len(f"{text!r:>{a}} {b}")
    return [x ** 2 for x in range(a)]
'''
SAME = {
    "a comment": PLAIN.replace("    if a:", "    # why\n    if a:  # because"),
    "a docstring": PLAIN.replace("int:\n", 'int:\n    """Says what."""\n', 1),
    "a long docstring": PLAIN.replace(
        "int:\n", 'int:\n    """Says what.\n\n    And more: # this\n    """\n', 1
    ),
    "blank lines": PLAIN.replace("    if a:", "\n\n    if a:\n"),
    "spaces at the end of a line": PLAIN.replace("if a:", "if a:   "),
    "decorators": "@print.__call__\n@(\n    lambda f: f\n)" + PLAIN,
    "a deeper place": "if True:\n"
    + "\n".join(f"    {line}" if line else "" for line in PLAIN.splitlines())
    + "\n",
}
OTHER = {
    "code": PLAIN.replace("** 2", "** 3"),
    "a default": PLAIN.replace('"#"', '"%"'),
    "an annotation": PLAIN.replace("a: int", "a: float"),
    "a name": PLAIN.replace("op(", "other("),
    "a text": PLAIN.replace("one\n", "one \n"),
    "a comment in a text": PLAIN.replace("# no comment", "# still none"),
    "a blank line in a text": PLAIN.replace("one\n\n", "one\n"),
    "spaces in a text": PLAIN.replace("   # no comment", "   # no comment  "),
    "indentation that matters": PLAIN.replace("    return [x", "        return [x"),
}


def hash_of(source, folder, name="op"):
    path = folder / "code_under_test.py"
    path.write_text(source)
    spec = importlib.util.spec_from_file_location(f"code_{abs(hash(source))}", path)
    module = importlib.util.module_from_spec(spec)
    linecache.clearcache()
    spec.loader.exec_module(module)
    return code_hash(getattr(module, name, None) or module.other)


@pytest.fixture(autouse=True)
def no_bytecode(monkeypatch):
    monkeypatch.setattr(sys, "dont_write_bytecode", True)


@pytest.fixture
def plain(tmp_path):
    return hash_of(PLAIN, tmp_path)


@pytest.mark.parametrize("change", [c for c in SAME if c != "decorators"])
def test_what_does_not_matter(plain, tmp_path, change):
    if change == "a deeper place":  # a text over several lines is another text there
        short = PLAIN.replace('"""one\n\n    two   # no comment\n    """', '"one"')
        deep = "if True:\n" + "\n".join(f"    {line}" if line else "" for line in short.splitlines()) + "\n"
        assert hash_of(deep, tmp_path) == hash_of(short, tmp_path)
    else:
        assert hash_of(SAME[change], tmp_path) == plain


def test_decorators_do_not_matter(tmp_path):
    operator = "from flowc import operator\n"
    one = hash_of(
        f"{operator}@operator(\n    cpus=2,\n    memory='1GB',  # much\n)\ndef op() -> int:\n    return 1\n",
        tmp_path,
        "op",
    )
    two = hash_of(f"{operator}@operator\ndef op() -> int:\n    return 1\n", tmp_path, "op")
    assert one == two


@pytest.mark.parametrize("change", OTHER)
def test_what_matters(plain, tmp_path, change):
    assert OTHER[change] != PLAIN
    assert hash_of(OTHER[change], tmp_path) != plain


def test_a_body_of_only_a_docstring_and_a_body_on_one_line(tmp_path):
    hashes = {
        hash_of(f"def op():{body}\n", tmp_path)
        for body in (" return 1", " return 2", " 'text'", "\n    'text'\n    pass")
    }
    assert len(hashes) == 4


def test_a_hash_is_16_hex_digits(plain):
    assert len(plain) == 16
    assert int(plain, 16) >= 0


def test_code_without_source_has_a_hash():
    names = {}
    exec("def made(): return 1", names)
    assert len(code_hash(names["made"])) == 16
    assert imports_of(names["made"]) == ()


PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python"))
# `flowc/__init__.py` needs nothing, so that the pure function can be asked where msgspec is not installed.
ASK = """
import sys, linecache
sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1], sys.argv[2]]
from flowc.fingerprint import code_hash
import case
print(code_hash(case.op))
"""


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parent.parent.name)
def test_every_python_finds_the_same_hash(python, plain, tmp_path):
    (tmp_path / "case.py").write_text(PLAIN)
    root = str(Path(fingerprint.__file__).parent.parent)
    done = subprocess.run(
        [python, "-c", ASK, root, str(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == plain


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
