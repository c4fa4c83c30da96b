"""Does anything notice if the core is wrong? Small mistakes are made in it, one by one, and the tests run.

    python tests/sim/mutants.py                 a hundred mutants; the survivors are listed
    python tests/sim/mutants.py --all           every one
    python tests/sim/mutants.py --only shares   of the files whose names contain this
    python tests/sim/mutants.py --minutes 30    stop after so long

A mutant is a comparison that is turned round or off by one, a sign that is swapped, a condition that is
negated, a statement that is left out, a number that is one more. Each is made in a copy of the source, in
which the core's tests and some hundred seeds of the worlds then run; what makes them fail is killed. Those
that survive as they change nothing that anyone could see are in `EQUIVALENT`, with the reason. Exits with 1
if there are others.
"""

import argparse
import ast
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
CORE = ROOT / "flowrun" / "core"
FILES = [
    *("decide.py", "failures.py", "state.py", "task.py", "fleet.py", "resume.py"),
    *(
        f"scheduler/{n}.py"
        for n in ("scheduler", "queue", "holdings", "order", "promise", "trial", "preempting")
    ),
    *(f"pool/{name}.py" for name in ("pool", "hosts", "matching", "gangs", "groups")),
    *(f"sharing/{name}.py" for name in ("shares", "turns", "preemption", "entitlement", "admission")),
]
SEEDS = 150  # of each world
LIMIT_S = 300  # what takes longer hangs: it is killed, too

# By file and the line as it stands after the mutation: why nobody could tell the difference.
_SPEED = "decides how soon it is found, not what"
_BOUND = "a bound on what is looked at; any other would do"
EQUIVALENT: dict[tuple[str, str], str] = {
    (
        "failures.py",
        "MAX_LOSSES = 4  # times that a task is started again after its process was lost through no fault of"
        " its own",
    ): _BOUND,
    **{
        ("failures.py", f"MAX_BACKOFF_MS = {so_long}"): _BOUND
        for so_long in (
            "(10 * 60 + 1000)",
            "(10 + 60) * 1000",
            "10 * 60 * 1001",
            "11 * 60 * 1000",
            "10 * 61 * 1000",
        )
    },
    (
        "failures.py",
        "LEAST_MB = 513  # asked for by what ran out of memory; less is not worth an attempt",
    ): "half of it is what counts",
    (
        "failures.py",
        "TAKEN_AGAIN_MS = 51  # until what another process has taken first is asked for again, if nobody is"
        " to be seen",
    ): _BOUND,
    ("scheduler/holdings.py", "_FEW = 65  # are sorted faster than walked in a heap"): _SPEED,
    ("scheduler/preempting.py", "CONSIDERED = 1025"): _BOUND,
    (
        "scheduler/preempting.py",
        "lanes.sort(key=lambda lane: ((lane.tier), -penalty[lane.team], lane.team))",
    ): "which are looked at if there are more than `CONSIDERED`; who goes first, `victims` says",
    ("scheduler/order.py", "pass"): "a lane that left and is asked in turn has nothing to give a place to",
    (
        "scheduler/promise.py",
        "missing = lacks.need - lacks.have if (lacks is not None or alone) else 0.0",
    ): _SPEED,
    ("scheduler/promise.py", "if (missing > 0 or lacks is not None):"): _SPEED,
    ("scheduler/promise.py", "TRIALS = 3"): _BOUND,
    (
        "scheduler/preempting.py",
        "HOSTS = 9  # with most that may be taken; a place on one host needs victims on one host",
    ): _BOUND,
    ("sharing/turns.py", "_GROWTH = math.exp(1 / 3)"): "the order lags waiting by less than it may",
    ("pool/groups.py", "_KNOWN_MAX = 50001  # answers that a ranking remembers"): _BOUND,
    ("sharing/turns.py", "while due and (due[0][0] < now_ms):"): "the order lags waiting by less than it may",
    (
        "scheduler/scheduler.py",
        "if delays and ((not of.least_ms and now_ms + of.least_ms > promise.at_ms)):",
    ): _SPEED,
    (
        "pool/hosts.py",
        "ways: list[Sequence[object]] ="
        " [[*zip(links, models, strict=True)], links, models, [1] * len(links)]",
    ): "a label that all have, whichever it is",
    ("state.py", "self.now_ms = 1"): "the first change of a run says when it is",
    (
        "sharing/shares.py",
        "if amounts[d] and (self.used[node][d] + amounts[d] >= limit + _DUST):",
    ): "nothing is as large as dust to the last digit",
}


class Mutant(NamedTuple):
    """A file, where in it and what is different there, and its text."""

    file: str
    line: int
    what: str
    text: str

    @property
    def now(self) -> str:
        """The line as it is with the mistake."""
        return self.text.splitlines()[self.line - 1].strip()


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
    tree = ast.parse(source)
    for node in ast.walk(tree):
        for what, other in _mistakes(node):
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
        case ast.Continue():
            yield "left out", "pass"
        case ast.Break():
            yield "left out", "pass"
        case ast.Expr(value=ast.Call()) | ast.AugAssign() | ast.Delete():
            yield "left out", "pass"
        case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
            yield "left out", "pass"


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
        same = ast.dump(ast.parse(text)) == ast.dump(ast.parse(source))
    except SyntaxError:
        return None
    return None if same else text


_TESTS = """
import sys
sys.path[:0] = [".", "tests/sim", "tests/flowrun"]
from world import World
from fleet_world import FleetWorld
import pytest
for world in (World, FleetWorld):
    for seed in range(10):
        world(seed).play()
if pytest.main(["-x", "-q", "--no-header", "-p", "no:cacheprovider", "tests/flowrun/core"]):
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
        command = [sys.executable, "-B", "-c", _TESTS, str(seeds)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        done = subprocess.run(command, cwd=folder, timeout=LIMIT_S, check=False, **quiet)
        return done.returncode == 0
    except subprocess.TimeoutExpired:
        return False
    finally:
        path.write_text(before)


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
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--sample", type=int, default=0, help="which hundred")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    args = parser.parse_args()
    found = [mutant for file in FILES if args.only in file for mutant in mutants(file)]
    if not args.all:
        random.Random(args.sample).shuffle(found)
        found = found[: args.count]
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    ends, survivors, tried = time.monotonic() + 60 * args.minutes, [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder)
        if not survives(
            Mutant("decide.py", 1, "nothing", (CORE / "decide.py").read_text()), folder, args.seeds
        ):
            print("the tests fail without a mutant")
            return 1
        for mutant in found:
            if time.monotonic() > ends:
                break
            tried += 1
            if survives(mutant, folder, args.seeds):
                reason = EQUIVALENT.get((mutant.file, mutant.now))
                survivors += [] if reason else [mutant]
                note = f"  equivalent: {reason}" if reason else ""
                print(
                    f"flowrun/core/{mutant.file}:{mutant.line}: {mutant.what}: {mutant.now}{note}", flush=True
                )
    print(f"{tried} of {len(found)} mutants tried, {len(survivors)} survive that should not")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())
