"""What is read from code by hand is what `dis` reads from it, in any version of Python."""

import ast
import dis
import importlib
import inspect
from types import CodeType

import pytest

from flowc.bytecode import digest_of, uses_of

GLOBALS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
ATTRIBUTES = {"LOAD_ATTR", "LOAD_METHOD", "LOAD_SUPER_ATTR", "STORE_ATTR", "DELETE_ATTR", "IMPORT_FROM"}
IMPORTS = {"IMPORT_NAME"}
OTHER = {
    "STORE_NAME",
    "DELETE_NAME",
    "STORE_GLOBAL",
    "DELETE_GLOBAL",
    "IMPORT_FROM",
}  # take nothing from elsewhere
# Long functions, classes within functions, patterns, comprehensions, `super`, type parameters.
MODULES = ["ast", "enum", "argparse", "typing", "dataclasses", "inspect", "tokenize", "test.test_patma"]


def codes_in(code):
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes_in(constant)


def source_of(module):
    try:
        return inspect.getsource(importlib.import_module(module))
    except ImportError:
        pytest.skip(f"this Python has no {module}")


@pytest.mark.parametrize("module", MODULES)
def test_names_are_those_that_dis_reads(module):
    code = compile(source_of(module), module, "exec")
    names = {}
    for inner in codes_in(code):
        for instruction in dis.get_instructions(inner):
            if instruction.opcode in dis.hasname or instruction.opname in ATTRIBUTES:
                names.setdefault(instruction.opname, set()).add(instruction.argval)
    assert names.keys() <= GLOBALS | ATTRIBUTES | IMPORTS | OTHER

    def of(operations):
        return set().union(*(names.get(operation, ()) for operation in operations))

    uses = uses_of(code)
    assert {chain[0] for chain in uses.chains} == of(GLOBALS)
    assert uses.attributes >= of(ATTRIBUTES)
    assert uses.imports == of(IMPORTS)


CASES = {
    "a, b.c.d(e.f)": ("a b.c.d e.f", "c d f", False),
    "a.b().c": ("a.b", "b c", False),
    "[x.a for x in b.c]": ("b.c", "a c", False),
    "lambda x: (lambda: a.b(x.c))": ("a.b", "b c", False),
    "{a, b}": ("a b", "", True),
    "{x for x in a}": ("a", "", True),
    "a in {1, 2, 3}": ("a", "", False),
    "super(a, b).c": ("super a b", "c", False),
}


@pytest.mark.parametrize("expression", CASES)
def test_uses(expression):
    chains, attributes, sets = CASES[expression]
    uses = uses_of(compile(f"def f():\n    return {expression}", "f.py", "exec").co_consts[0])
    assert {".".join(chain) for chain in uses.chains} == set(chains.split())
    assert uses.attributes == set(attributes.split())
    assert uses.sets == sets


def test_names_beyond_the_first_256():
    """Their numbers need more than a byte."""
    many = [f"a{i}.b{i}" for i in range(600)]
    uses = uses_of(compile(ast.parse("\n".join(many)), "f.py", "exec"))
    assert {".".join(chain) for chain in uses.chains} == set(many)


def test_names_in_patterns_of_classes():
    source = "def f(x):\n    match x:\n        case A(code=1):\n            return B"
    assert "code" in uses_of(compile(source, "f.py", "exec").co_consts[0]).attributes


def test_names_in_the_body_of_a_class_within_a_function():
    source = "def f(x):\n    class A:\n        y = g.h\n        z = x\n    return A"
    uses = uses_of(compile(source, "f.py", "exec").co_consts[0])
    assert ("g", "h") in uses.chains


def test_a_digest_is_by_place_within_the_function():
    def digest(source):
        code = compile(source, "f.py", "exec").co_consts[0]
        return digest_of(code, code.co_firstlineno)

    function = "def f(x):\n    return x + 1"
    assert digest(function) == digest("\n\n" + function)
    assert digest(function) != digest("def f(x):\n\n    return x + 1")
    assert digest(function) != digest("def f(x):\n    return x + 2")
