"""Code as text: blind to layout and to documentation, not to anything else, and equal on every Python."""

# ruff: noqa: E501 - a case a line

import ast
import subprocess
from pathlib import Path

import pytest

from flowc.code import syntax
from flowc.code.syntax import text_of

PLAIN = '''
def op(a: int, b: str = "#") -> int:
    import json, os
    from numpy import array
    text = """one

    two   # no comment
    """
    del a, b
    if a:
        return len(f"{text!r:>{a}} {b}")
    return [x ** 2 for x in range(1000)]
'''
SAME = {
    "a comment": PLAIN.replace("    if a:", "    # why\n    if a:  # because"),
    "a docstring": PLAIN.replace("int:\n", 'int:\n    """Says what."""\n', 1),
    "a docstring of a value": PLAIN.replace("    if a:", '    """What that was."""\n    if a:'),
    "blank lines": PLAIN.replace("    if a:", "\n\n    if a:\n"),
    "spaces": PLAIN.replace("if a:", "if   a :   "),
    "brackets": PLAIN.replace("return [x ** 2", "return [(x) ** (2)"),
    "quotes": PLAIN.replace('"#"', "'#'"),
    "a prefix": PLAIN.replace('"#"', 'u"#"'),
    "another spelling": PLAIN.replace('"#"', '"\\x23"'),
    "a string in pieces": PLAIN.replace('f"{text!r:>{a}} {b}"', 'f"{text!r:>{a}}" " " f"{b}"'),
    "a long line split": PLAIN.replace("op(a: int, b", "op(\n    a: int,\n    b").replace('"#")', '"#",\n)'),
    "digits grouped": PLAIN.replace("1000", "1_000"),
    "brackets of del": PLAIN.replace("del a, b", "del (a, b)"),
    "imports sorted": PLAIN.replace(
        "import json, os\n    from numpy import array",
        "from numpy import array\n    import os\n    import json",
    ),
    "pass": PLAIN.replace("    return [x", "        pass\n    else:\n        pass\n    return [x"),
}
OTHER = {
    "code": PLAIN.replace("** 2", "** 3"),
    "a default": PLAIN.replace('"#"', '"%"'),
    "a default of another type": PLAIN.replace('"#"', 'b"#"'),
    "an annotation": PLAIN.replace("a: int", "a: float"),
    "a name": PLAIN.replace("op(", "other("),
    "a text": PLAIN.replace("one\n", "one \n"),
    "a comment in a text": PLAIN.replace("# no comment", "# still none"),
    "a blank line in a text": PLAIN.replace("one\n\n", "one\n"),
    "spaces in a text": PLAIN.replace("   # no comment", "   # no comment  "),
    "indentation that matters": PLAIN.replace("    return [x", "        return [x"),
    "a conversion": PLAIN.replace("!r", "!s"),
    "a format": PLAIN.replace(":>{a}", ":<{a}"),
    "a number's type": PLAIN.replace("1000", "1000.0"),
    "an import": PLAIN.replace("json, os", "json, sys"),
    "an imported name": PLAIN.replace("import array", "import zeros as array"),
    "which comprehension": PLAIN.replace("[x ** 2 for x in range(1000)]", "{x ** 2 for x in range(1000)}"),
}


def text(source):
    return text_of([ast.parse(source)])


@pytest.mark.parametrize("change", SAME)
def test_what_does_not_matter(change):
    assert text(SAME[change]) == text(PLAIN)


@pytest.mark.parametrize("change", OTHER)
def test_what_matters(change):
    assert text(OTHER[change]) != text(PLAIN)


def test_a_body_of_only_a_docstring_does_nothing():
    bodies = (" return 1", " return 2", " 'text'", "\n    'text'\n    pass", " ...")
    texts = [text(f"def op():{body}\n") for body in bodies]
    assert len(set(texts)) == 3
    assert len(set(texts[2:])) == 1


VALUES = [
    ("f'abc'", "'abc'", True),
    ("f'{a:}'", "f'{a}'", True),
    ("f'a{{b'", "'a{b'", True),
    ("'a' 'b'", "'ab'", True),
    ("f'{a}'", "f'{a!s}'", False),
    ("f'{a=}'", "f'{a}'", False),
    ("[1, None]", "[1]", False),
    ("{**a}", "{None: a}", False),
    ("(1,)", "1", False),
    ("True", "1", False),
    ("1", "1.0", False),
    ("0.0", "-0.0", False),
    ("'1'", "1", False),
    ("x.y", "x['y']", False),
    ("f(a, *b)", "f(a, b)", False),
    ("lambda *, a, b=1: 0", "lambda *, a=1, b: 0", False),
]
STATEMENTS = [
    ("from . import a", "from .. import a"),
    ("from . import a", "import a"),
    ("global a, b", "global a"),
    ("async def f(): pass", "def f(): pass"),
    ("for i in a: b", "for i in a: b\nelse: c"),
    ("import a as b", "import a"),
]


@pytest.mark.parametrize(("one", "two", "same"), VALUES)
def test_values(one, two, same):
    assert (text(f"x = {one}") == text(f"x = {two}")) is same


@pytest.mark.parametrize(("one", "two"), STATEMENTS)
def test_statements_that_differ(one, two):
    assert text(one) != text(two)


def test_depth_is_no_limit():
    tree = ast.parse("1")
    for _ in range(20_000):
        tree = ast.UnaryOp(ast.USub(), tree)
    assert text_of([tree]).count("USub()") == 20_000


PYTHONS = sorted(Path.home().glob(".pyenv/versions/3.1[123].*/bin/python"))
EVERYTHING = r'''
import a.b as c, d
from . import e
from ..f import g as h
@dataclass(frozen=True)
class K(L, metaclass=M):
    """Doc."""
    x: int = 1
    y: "list[int]"
    (z): int = 2
    async def f(self, a, /, b, *c, d=1, **e) -> None:
        async with a as b, c: await d
        async for i in j: yield i
        return [x async for x in y if z]
def texts(a, w):
    return (f"", f"a", f"{a}", f"{a!r:>{w}}", f"{a:{w}.{w}f}x", f"{a=}", f"{a = !s}", f"{a:%Y-%m}" f"{{}}" "b", f"""
      {a}
      b""", rf"\d{a}\n", f"{a:}", f"{'q'}", f"{a}{a}", "\N{BULLET}\ud800\U0001fae8", b"\x00", f'{a["k"]}')
def numbers():
    return 1_000, 0xff, 1e400, -0.0, 3j, 10**100, 123456789012345678901234567890, ..., None, True
def control(a):
    global G
    try:
        while a: a -= 1
        else: pass
    except (A, B) as e: raise X from e
    except C: pass
    finally: del a, (b, c)
    try: pass
    except* D: pass
    for i, *j in k: continue
    with open(a) as f, (yield): assert f, "no"
    match a:
        case {"k": v, **rest} if v: ...
        case [1, *_, (2 | 3) as n] | K(x=1): pass
        case None | "s" | -1 | a.b: return lambda *a, b=1: (a := b)
        case _: nonlocal_ = not a if a < b <= c else a[1:2, ..., ::3]
    print(*a, **b, c=d, sep="")
    return {**a, "b": 1}, {1, 2}, {k: v for k, v in a}, (x for x in y), a @ b // c, x if y else z
'''
ASK = """
import ast, sys
sys.dont_write_bytecode = True
sys.path[:0] = [sys.argv[1]]
from flowc.code.syntax import text_of
print(text_of([ast.parse(sys.stdin.read())]))
"""


@pytest.mark.parametrize("python", PYTHONS, ids=lambda path: path.parent.parent.name)
def test_every_python_writes_the_same_text(python):
    root = str(Path(syntax.__file__).parent.parent.parent)
    command = [python, "-c", ASK, root]
    done = subprocess.run(command, input=EVERYTHING, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == text(EVERYTHING)
