"""Does anything notice if the core is wrong? Small mistakes are made in it, one by one, and the tests run.

    python tests/sim/mutants.py                 a hundred mutants; the survivors are listed
    python tests/sim/mutants.py --all           every one
    python tests/sim/mutants.py --only shares   of the files whose names contain this
    python tests/sim/mutants.py --minutes 30    stop after so long; it says how many were tried
    python tests/sim/mutants.py --all --skip 80 go on behind the first 80

A mutant is a comparison that is turned round or off by one, a sign that is swapped, a condition that is
negated, a statement that is left out, a number that is one more. Each is made in a copy of the source, in
which the core's tests and some hundred seeds of the worlds then run; what makes them fail is killed. Those
that change nothing that anyone could see are in `equivalent.py`, with the reason; they are tried with `--all`
only. Exits with 1 if others survive.
"""

import argparse
import ast
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from blake3 import blake3
from equivalent import EQUIVALENT

ROOT = Path(__file__).parents[2]
CORE = ROOT / "flowrun" / "core"
FILES = [
    *("decide.py", "damage.py", "failures.py", "state.py", "task.py", "fleet.py", "resume.py"),
    *("graph.py", "again.py", "clock.py", "expected.py"),
    *(
        f"scheduler/{n}.py"
        for n in ("scheduler", "queue", "holdings", "order", "promise", "trial", "preempting")
    ),
    *(f"pool/{name}.py" for name in ("pool", "hosts", "matching", "gangs", "groups")),
    *(f"sharing/{name}.py" for name in ("shares", "turns", "preemption", "entitlement", "admission")),
]
SEEDS = 150  # of each world
LIMIT_S = 300  # of CPU time, however busy the machine is: what takes longer hangs, and is killed, too


class Mutant(NamedTuple):
    """A file, where in it and what is different there, and its text."""

    file: str
    line: int
    what: str
    text: str

    @property
    def now(self) -> str:
        """The line as it is with the mistake; with two lines before, if those have to tell which it is."""
        lines = [line.strip() for line in self.text.splitlines()[: self.line]]
        return " ".join(lines[-3:]) if lines[-1] in _COMMON else lines[-1]


_COMMON = ("pass  # break", "pass  # continue", "return True", "return False")  # may stand in many places
_COMPARED = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is,
}  # fmt: skip
_CALCULATED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.Add}
_JOINED = {ast.And: ast.Or, ast.Or: ast.And}
_NAMES = {"min": "max", "max": "min", "any": "all", "all": "any"}


def mutants(file: str) -> Iterator[Mutant]:
    """Every small mistake that can be made in a file. The rest of it stays as it is written."""
    source = (CORE / file).read_text()
    nodes = list(ast.walk(ast.parse(source)))
    # That two sequences are as long as each other is asserted: left out, nothing is wrong yet.
    strict = [node.value for node in nodes if isinstance(node, ast.keyword) and node.arg == "strict"]
    for node in nodes:
        for what, other in _mistakes(node) if node not in strict else ():
            text = _with(source, node, other)
            if text is not None:
                yield Mutant(file, getattr(node, "lineno", 0), what, text)


def _mistakes(node: ast.AST) -> Iterator[tuple[str, str]]:
    """What could stand in place of a node instead, and what is wrong with it."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=[right]) if type(op) in _COMPARED:
            yield "comparison", _text(ast.Compare(left, [_COMPARED[type(op)]()], [right]))
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _CALCULATED:
            if not (isinstance(left, ast.JoinedStr) or _is_text(left)):
                yield "sign", _text(ast.BinOp(left, _CALCULATED[type(op)](), right))
        case ast.BoolOp(op=op, values=values):
            yield "and/or", _text(ast.BoolOp(_JOINED[type(op)](), values))
        case ast.UnaryOp(op=ast.Not() | ast.USub(), operand=operand):
            yield "not or minus", _text(operand)
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            yield "off by one", str(value + 1)
        case ast.Constant(value=bool() as value):
            yield "truth", str(not value)
        case ast.Name(id=name) if name in _NAMES:
            yield "the other end", _NAMES[name]
        case (
            ast.Continue()
            | ast.Break()
            | ast.Expr(value=ast.Call())
            | ast.AugAssign()
            | ast.Delete()
            | ast.Assign(targets=[ast.Attribute() | ast.Subscript()])
        ):
            yield "left out", f"pass  # {ast.unparse(node)}"


def _is_text(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _text(node: ast.AST) -> str:
    return f"({ast.unparse(ast.fix_missing_locations(node))})"


def _with(source: str, node: ast.AST, other: str) -> str | None:
    """The source with another text in place of a node; none if that cannot be read."""
    lines = source.splitlines(keepends=True)
    starts = [0]
    for line in lines:
        starts.append(starts[-1] + len(line.encode()))
    data = source.encode()
    first = starts[node.lineno - 1] + node.col_offset  # type: ignore[attr-defined]
    after = starts[node.end_lineno - 1] + node.end_col_offset  # type: ignore[attr-defined]
    text = (data[:first] + other.encode() + data[after:]).decode()
    try:
        return None if ast.dump(ast.parse(text)) == _meaning(source) else text
    except SyntaxError:
        return None


@lru_cache(maxsize=1)
def _meaning(source: str) -> str:
    return ast.dump(ast.parse(source))


_TESTS = f"""
import resource
import sys
resource.setrlimit(resource.RLIMIT_CPU, ({LIMIT_S}, {LIMIT_S}))
sys.path[:0] = [".", "tests/sim", "tests/flowrun"]
from world import World
from fleet_world import FleetWorld
import pytest
for world in (World, FleetWorld):
    for seed in range(10):
        world(seed).play()
quiet = ["-x", "-q", "--no-header", "-p", "no:cacheprovider"]
near = sys.argv[2:]
ignored = [f"--ignore={{path}}" for path in (*near, "tests/flowrun/core/ahead")]  # that is not mutated
if pytest.main([*quiet, *near]) or pytest.main([*quiet, "tests/flowrun/core", *ignored]):
    sys.exit("tests")
for seed in range(10, int(sys.argv[1])):
    for world in (World, FleetWorld):
        world(seed).play()
"""


def survives(mutant: Mutant, folder: Path, seeds: int) -> bool:
    """Whether nothing notices a mutant; `folder` is a copy of the source, and is as before afterwards."""
    path = folder / "flowrun" / "core" / mutant.file
    before = path.read_text()
    path.write_text(mutant.text)
    try:
        command = [sys.executable, "-c", _TESTS, str(seeds), *near(mutant.file)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return subprocess.run(command, cwd=folder, check=False, **quiet).returncode == 0
    finally:
        path.write_text(before)


def sample(found: list[Mutant], count: int, number: int) -> list[Mutant]:
    """Some of the mutants; which those are changes only where lines of the core do."""
    return sorted(found, key=lambda one: blake3(f"{number} {one.file} {one.now}".encode()).digest())[:count]


def near(file: str) -> list[str]:
    """The tests that are likely to notice a mistake in a file, and that come first."""
    tests = Path("tests", "flowrun", "core")
    if "/" in file:
        return [str(tests / Path(file).parent)]
    return [
        str(tests / name)
        for name in (
            "test_decide.py",
            "test_damage.py",
            "test_elsewhere.py",
            "test_state.py",
            "test_graph.py",
            "test_clock.py",
            "test_expected.py",
            "test_control.py",
            "test_foresight.py",
        )
    ]


def copy(folder: Path) -> None:
    """What the tests need, in a folder of its own."""
    for name in ("flowc", "flowrun", "flowserve", "stdlib", "benchmarks", "tests", "docs"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".flow"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def main() -> int:
    """List the survivors."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--all", action="store_true", help="every mutant, not a hundred of them")
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--only", default="", help="part of the name of a file in flowrun/core")
    parser.add_argument("--skip", type=int, default=0, help="how many were tried before")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--sample", type=int, default=0, help="which of the samples")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    found = [mutant for file in FILES if args.only in file for mutant in mutants(file)]
    there = {(mutant.file, mutant.now) for mutant in found}
    outdated = [key for key in EQUIVALENT if args.only in key[0] and key not in there]
    if outdated:
        print("listed as equivalent, but there are no such mutants:", *outdated, sep="\n  ")
        return 1
    if not args.all:
        found = sample(found, args.count, args.sample)
    ends, survivors, tried = time.monotonic() + 60 * args.minutes, [], min(args.skip, len(found))
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is compiled once need not be for each mutant
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder)
        if not survives(
            Mutant("decide.py", 1, "nothing", (CORE / "decide.py").read_text()), folder, args.seeds
        ):
            print("the tests fail without a mutant")
            return 1
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
        for mutant in found[tried:]:
            if time.monotonic() > ends:
                break
            tried += 1
            reason = EQUIVALENT.get((mutant.file, mutant.now), "")
            if reason and not args.all:
                continue
            survived = survives(mutant, folder, args.seeds)
            if survived != bool(reason):
                found_out = "is listed as equivalent, and is not" if reason else "survives"
                survivors.append(mutant)
                print(
                    f"flowrun/core/{mutant.file}:{mutant.line}: {mutant.what}: {mutant.now}  {found_out}",
                    flush=True,
                )
    print(f"{tried} of {len(found)} mutants tried, {len(survivors)} survive that should not")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
