"""Other tools, set beside flowrun: each a process of `peers/work.py`, in a Python that has the tool.

That is this one, or what the environment variable PEERS names. What is not installed there, or does not come
up and do its work once within a time limit, is left out, with the reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import NamedTuple

from benchmarks import harness

TITLES = {"pool": "ProcessPoolExecutor", "ray": "Ray", "dask": "dask", "parsl": "Parsl", "make": "make -j2"}
TOOLS = ("pool", "ray", "dask", "parsl")
WORKERS = 2
PYTHON = os.environ.get("PEERS", sys.executable)
_LIMIT_S = 90
_PROGRAM = Path(__file__).parent / "peers" / "work.py"

Work = Callable[[int], float]


class LeftOut(Exception):
    """Why a tool does not take part."""


class Side(NamedTuple):
    """A tool that is up, and does some work of so many nodes or numbers."""

    process: subprocess.Popen[str]
    said: Path

    def ask(self, work: str, amount: int) -> float:
        """What it took. `LeftOut` if it took too long, or failed."""
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(f"{work} {amount}\n")
            self.process.stdin.flush()
        return float(self.answer())

    def answer(self) -> str:
        """The next line that is meant for us."""
        assert self.process.stdout is not None
        late = threading.Event()

        def stop() -> None:
            late.set()
            _end(self.process)

        timer = threading.Timer(_LIMIT_S, stop)
        timer.start()
        try:
            for line in self.process.stdout:
                if line.startswith("= "):
                    return line[2:].strip()
        finally:
            timer.cancel()
        raise LeftOut(f"it took more than {_LIMIT_S} s" if late.is_set() else _reason(self.said))


class Beside:
    """The tools that take part in a benchmark. `left_out` has the others, with the reasons."""

    def __init__(self, libraries: Sequence[str] = (), python: str = PYTHON) -> None:
        self.left_out: dict[str, str] = {}
        self._python = python
        self._exits = contextlib.ExitStack()
        self._libraries = libraries

    def __enter__(self) -> Beside:
        self._folder = Path(self._exits.enter_context(tempfile.TemporaryDirectory()))
        self._environment = {**os.environ, "PYTHONPATH": str(_lend(self._folder / "lent", self._libraries))}
        return self

    def __exit__(self, *_: object) -> None:
        self._exits.close()

    def up(self, *works: str, warm: int = 3) -> dict[str, Side]:
        """The tools that come up, and have done each of some works once."""
        found = {}
        for name in TOOLS:
            try:
                side = self._exits.enter_context(self.side(name, works[0]))
                for work in works:
                    side.ask(work, warm)
                found[name] = side
            except LeftOut as error:
                self.left_out[name] = str(error)
        return found

    @contextlib.contextmanager
    def side(self, name: str, work: str, *arguments: int) -> Iterator[Side]:
        """A tool that has come up to do some work. `LeftOut`."""
        said = self._folder / f"{name}.said"
        with said.open("w") as errors:
            process = subprocess.Popen(
                self.command(name, work, *arguments),
                env=self._environment,
                cwd=self._folder,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                start_new_session=True,
            )
        side = Side(process, said)
        try:
            side.answer()
            yield side
        finally:
            assert process.stdin is not None
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(20)
            _end(process)

    def whole(self, work: str) -> dict[str, Callable[[], float]]:
        """Of the tools that can do a work as a whole process: milliseconds of one."""
        found: dict[str, Callable[[], float]] = {}
        for name in TOOLS:
            command = self.command(name, work)
            said = self._folder / f"{name}.said"
            with said.open("w") as errors:
                process = subprocess.Popen(
                    command, env=self._environment, stdout=errors, stderr=errors, start_new_session=True
                )
                try:
                    if process.wait(_LIMIT_S):
                        self.left_out[name] = _reason(said)
                        continue
                except subprocess.TimeoutExpired:
                    self.left_out[name] = f"it took more than {_LIMIT_S} s"
                    _end(process)
                    continue
            found[name] = partial(harness.wall_ms, command, self._folder, self._environment)
        return found

    def command(self, name: str, work: str, *arguments: int) -> list[str]:
        """The program that does some work with a tool."""
        return [self._python, str(_PROGRAM), name, work, *map(str, arguments)]

    def make(self, rules: Callable[[int], str], work: str = "") -> dict[str, Work]:
        """`make -j2` as a side: seconds for a Makefile's first target; no side where there is no make."""
        make = shutil.which("make")
        if make is None:
            self.left_out["make"] = "it is not installed"
            return {}
        folder = self._folder / f"make-{work}"
        folder.mkdir()

        def run(amount: int) -> float:
            (folder / "Makefile").write_text(rules(amount))
            return harness.wall_ms([make, "-s", f"-j{WORKERS}"], folder) / 1000

        return {"make": run}


def reasons(left_out: dict[str, str]) -> list[str]:
    """What is left out, as lines."""
    return [f"left out: {TITLES[name]}: {why}" for name, why in left_out.items()]


def _lend(folder: Path, names: Sequence[str]) -> Path:
    """A folder for PYTHONPATH that has distributions of ours, with what they need, found after all else.

    The other environment may not have them; and its own come first.
    """
    lent = folder / "libraries"
    lent.mkdir(parents=True)
    (folder / "sitecustomize.py").write_text(f"import sys\nsys.path.append({str(lent)!r})\n")
    wanted, seen = list(names), set()
    while wanted:
        name = wanted.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        for top in {file.parts[0] for file in found.files or ()} - {"..", "__pycache__"}:
            if not (lent / top).exists():
                (lent / top).symlink_to(Path(str(found.locate_file(top))))
        needs = (need for need in found.requires or () if "extra ==" not in need)
        wanted += [match[0] for need in needs if (match := re.match(r"[\w.-]+", need))]
    return folder


def _end(process: subprocess.Popen[str] | subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _reason(said: Path) -> str:
    """The last line of an error."""
    lines = said.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    missing = re.search(r"No module named '([\w.]+)'", lines[-1])
    return f"there is no {missing[1]} in its Python" if missing else lines[-1][:200]
