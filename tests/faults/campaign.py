"""Faults that must lose nothing, made for real, at random moments, many times.

    python tests/faults/campaign.py                  each fault some times; the table of docs/reliability.md
    python tests/faults/campaign.py --times 100      as `make nightly` does
    python tests/faults/campaign.py --only zygote --seed 17

A trial starts a run of sixty nodes, disturbs it, resumes it until it has succeeded, and then sees that the
artifacts are those of an undisturbed run, that no node ran again that had counted as done, that all that
people were told is diagnostics, and that no process is left.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

BIN = Path(sys.executable).parent
PLAN = "plans/main.plan.jsonl"
MOST_RESUMES = 5
LIMIT_S = 120

# Ten chains of six. Small values and arrays take turns: some results lie in the log, and some in files.
SIXTY = '''
import hashlib
import os
import time

import numpy as np

from flowc import Array, operator, workflow

HERE = os.path.dirname(os.path.abspath(__file__))


def note(name: str) -> None:
    """Write down that an operator runs, in one write that a crash cannot cut."""
    with open(os.path.join(HERE, "ran"), "a") as file:
        file.write(name + "\\n")


@operator(cpus=1)
def widen(name: str, number: int) -> Array:
    note(name)
    time.sleep(0.004)
    return np.arange(30_000) * (number + 1)


@operator(cpus=1)
def narrow(name: str, data: Array) -> int:
    note(name)
    print("sum of", name)
    time.sleep(0.008)
    return int(hashlib.blake2b(data.tobytes()).hexdigest()[:6], 16)


@workflow
def main() -> list[int]:
    numbers = []
    for chain in range(10):
        number = chain
        for step in range(3):
            data = widen(f"widen{chain}.{step}", number)
            number = narrow(f"narrow{chain}.{step}", data)
        numbers.append(number)
    return numbers
'''


class Broken(AssertionError):
    """A trial in which something was lost, repeated or left behind."""


class Project:
    """The workflow of sixty nodes in a folder of its own, and what an undisturbed run of it gives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "flows.py").write_text(SIXTY)
        self.command("flowc", "compile", "flows.py:main")
        began = time.monotonic()
        self.command("flowrun", "execute", PLAN, "--state", "undisturbed")
        self.took_s = time.monotonic() - began
        began = time.monotonic()
        self.command("flowrun", "--version")
        self.begins_s = time.monotonic() - began  # before that, Python alone is there to be disturbed
        self.expected = self.artifacts("undisturbed")

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = self.attempt(*words)
        if done.returncode:
            raise Broken(f"{' '.join(words)}: {done.stdout}{done.stderr}")
        return done

    def attempt(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / words[0], *words[1:]], cwd=self.folder, capture_output=True, text=True, timeout=LIMIT_S
        )

    def start(self, state: str) -> subprocess.Popen[str]:
        """`flowrun execute` in a process group of its own."""
        words = [BIN / "flowrun", "execute", PLAN, "--state", state]
        with (self.folder / "said").open("w") as said:
            return subprocess.Popen(
                words, cwd=self.folder, stdout=said, stderr=said, text=True, start_new_session=True
            )

    def artifacts(self, state: str) -> dict[str, str]:
        """The hash of each node's artifact in the only run of a state folder."""
        shown = json.loads(self.command("flowrun", "show", "--state", state, "--json").stdout)
        return {node["node"]: (node["artifact"] or {}).get("hash", "") for node in shown["nodes"]}

    def ran(self) -> Counter[str]:
        """How often each operator began."""
        path = self.folder / "ran"
        return Counter(path.read_text().split()) if path.exists() else Counter()

    def done(self, state: str) -> set[str]:
        """The operators, as they call themselves, whose nodes have counted as done, by the log alone."""
        path = self.folder / state / "runs.db"
        if not path.exists():
            return set()
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as log:
            try:
                bodies = [body for (body,) in log.execute("SELECT body FROM changes")]
                rows = [json.loads(line) for body in bodies for line in body.splitlines()]
            except (sqlite3.DatabaseError, ValueError, AttributeError):  # damaged, and nothing is to be read
                return set()
        nodes = {row["node"] for row in rows if row["change"] in ("exited", "reuse") and "artifact" in row}
        return {self.names[node] for node in nodes if node in self.names}

    @property
    def names(self) -> dict[str, str]:
        """What the operators of nodes call themselves."""
        rows = [json.loads(line) for line in (self.folder / PLAN).read_text().splitlines()]
        return {row["id"]: row["args"]["name"] for row in rows if row["kind"] == "node"}

    def processes(self) -> list[psutil.Process]:
        """Every live process that was started in the project's folder, wherever it works now."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                ours = str(self.folder) in process.cwd() or process.environ().get("PWD") == str(self.folder)
                if ours and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found


class Trial:
    """One run that is disturbed. `rng` decides when and where."""

    def __init__(self, project: Project, state: str, rng: random.Random) -> None:
        self.project = project
        self.state = state
        self.rng = rng
        self.folder = project.folder / state
        self.run: subprocess.Popen[str]

    def begin(self) -> None:
        self.run = self.project.start(self.state)

    def wait(self) -> None:
        """Let the run go on for a random while; it may well end before that."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.run.wait(self.rng.uniform(self.project.begins_s, self.project.took_s))

    def end(self) -> None:
        """The run ends by itself now."""
        self.run.wait(LIMIT_S)
        said = (self.project.folder / "said").read_text()
        if "Traceback" in said:
            raise Broken(f"a traceback:\n{said}")

    def tree(self) -> tuple[list[psutil.Process], list[psutil.Process]]:
        """The processes that fork, and those that run nodes, as they stand."""
        with contextlib.suppress(psutil.Error):
            below = psutil.Process(self.run.pid).children(recursive=True)
            parents = {process.ppid() for process in below}
            forking = [
                process for process in below if process.pid in parents or process.ppid() == self.run.pid
            ]
            return forking, [process for process in below if process not in forking]
        return [], []


def kill_flowrun(trial: Trial) -> None:
    """`kill -9` of flowrun."""
    trial.begin()
    trial.wait()
    trial.run.kill()
    trial.run.wait()


def kill_worker(trial: Trial) -> None:
    """`kill -9` of a worker."""
    trial.begin()
    trial.wait()
    _, workers = trial.tree()
    if workers:
        with contextlib.suppress(psutil.Error):
            trial.rng.choice(workers).kill()
    trial.end()


def kill_zygote(trial: Trial) -> None:
    """`kill -9` of a fork server."""
    trial.begin()
    trial.wait()
    forking, _ = trial.tree()
    if forking:
        with contextlib.suppress(psutil.Error):
            trial.rng.choice(forking).kill()
    trial.end()


def terminate(trial: Trial) -> None:
    """SIGTERM."""
    trial.begin()
    trial.wait()
    trial.run.terminate()
    trial.end()


def interrupt_twice(trial: Trial) -> None:
    """Ctrl-C, twice."""
    trial.begin()
    trial.wait()
    for _ in range(2):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(trial.run.pid, signal.SIGINT)
        time.sleep(trial.rng.uniform(0, 0.02))
    trial.end()


def lose_tail(trial: Trial) -> None:
    """Power loss: the log's tail is cut at a random byte."""
    kill_flowrun(trial)
    wal = trial.folder / "runs.db-wal"
    if wal.exists():
        os.truncate(wal, trial.rng.randint(0, wal.stat().st_size))


def lose_pages(trial: Trial) -> None:
    """Power loss: the log's tail was never flushed, and is zeros."""
    kill_flowrun(trial)
    wal = trial.folder / "runs.db-wal"
    if wal.exists():
        size = wal.stat().st_size
        kept = trial.rng.randint(0, size)
        os.truncate(wal, kept)
        os.truncate(wal, size)


def lose_artifact(trial: Trial) -> None:
    """Power loss: an artifact's content was never flushed."""
    kill_flowrun(trial)
    if files := _artifacts(trial):
        file = trial.rng.choice(files)
        file.chmod(0o644)
        os.truncate(file, trial.rng.randint(0, file.stat().st_size - 1))


def flip_artifact(trial: Trial) -> None:
    """A flipped bit in an artifact."""
    kill_flowrun(trial)
    if files := _artifacts(trial):
        _flip(trial.rng.choice(files), trial.rng)


def flip_log(trial: Trial) -> None:
    """A flipped bit in the log."""
    kill_flowrun(trial)
    files = [file for name in ("runs.db", "runs.db-wal") if (file := trial.folder / name).exists()]
    files = [file for file in files if file.stat().st_size]
    if files:
        _flip(trial.rng.choice(files), trial.rng)


def _artifacts(trial: Trial) -> list[Path]:
    return sorted(file for file in (trial.folder / "artifacts").glob("??/[!.]*") if file.stat().st_size)


def _flip(file: Path, rng: random.Random) -> None:
    """One bit becomes another, as on a failing disk: the file's times tell nothing."""
    at, was = rng.randrange(file.stat().st_size), file.stat()
    file.chmod(0o644)
    with file.open("r+b") as opened:
        opened.seek(at)
        byte = opened.read(1)[0]
        opened.seek(at)
        opened.write(bytes([byte ^ 1 << rng.randrange(8)]))
    os.utime(file, ns=(was.st_atime_ns, was.st_mtime_ns))


def fill_disk(trial: Trial) -> None:
    """A full disk, on which there is room again after a while."""
    with _disk(trial, "2m"):
        trial.begin()
        with contextlib.suppress(subprocess.TimeoutExpired):
            trial.run.wait(trial.project.took_s + trial.rng.uniform(0, 1))
        _mount("remount,size=64m", trial.folder)
        trial.end()
        _keep(trial)


def write_protect(trial: Trial) -> None:
    """A store that is read-only when the run is to go on."""
    with _disk(trial, "64m"):
        kill_flowrun(trial)
        _demand_nobody_left(trial.project)  # else somebody still has a file open to write
        _mount("remount,ro", trial.folder)
        refused = trial.project.attempt("flowrun", "execute", PLAN, "--state", trial.state)
        if refused.returncode != 1 or "error[FR305]" not in refused.stderr or "Traceback" in refused.stderr:
            raise Broken(f"not refused as it should be:\n{refused.stdout}{refused.stderr}")
        _mount("remount,rw", trial.folder)
        _keep(trial)


@contextlib.contextmanager
def _disk(trial: Trial, size: str) -> Iterator[None]:
    """The run's state lies on a small disk of its own."""
    trial.folder.mkdir()
    _mount(f"size={size}", trial.folder)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", trial.folder], check=True)
        kept = trial.folder.with_suffix(".kept")
        if kept.exists():
            trial.folder.rmdir()
            kept.rename(trial.folder)


def _mount(options: str, folder: Path) -> None:
    """Mount, or mount anew. Who has just been killed may still be about to close its files."""
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    for _ in range(50):
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode == 0:
            return
        time.sleep(0.1)
    raise Broken(f"`{options}` cannot be mounted: {done.stderr}")


def _keep(trial: Trial) -> None:
    """Keep what lies on the small disk when that is gone."""
    shutil.copytree(trial.folder, trial.folder.with_suffix(".kept"))


class Fault(NamedTuple):
    """`may_redo`: what was done may be lost with what was damaged, and be done again."""

    act: Callable[[Trial], None]
    may_redo: bool = False
    may_refuse: bool = False  # to go on, with a diagnostic
    needs_root: bool = False  # to mount a disk


FAULTS = {
    "flowrun": Fault(kill_flowrun),
    "worker": Fault(kill_worker),
    "zygote": Fault(kill_zygote),
    "sigterm": Fault(terminate),
    "ctrl-c": Fault(interrupt_twice),
    "torn": Fault(lose_tail),
    "unflushed": Fault(lose_pages),
    "artifact-lost": Fault(lose_artifact, may_redo=True),
    "artifact-bit": Fault(flip_artifact, may_redo=True),
    "log-bit": Fault(flip_log, may_redo=True, may_refuse=True),
    "full-disk": Fault(fill_disk, needs_root=True),
    "read-only": Fault(write_protect, needs_root=True),
}


def trial(project: Project, name: str, seed: int) -> str:
    """Play a trial; what came of it, in a word, or `Broken`."""
    state = f"{name}-{seed}"
    fault = FAULTS[name]
    if fault.needs_root and os.geteuid():
        return "not tried: only root can mount a disk"
    (project.folder / "ran").unlink(missing_ok=True)
    played = Trial(project, state, random.Random(seed))
    try:
        fault.act(played)
        _demand_nobody_left(project)
        done, before = project.done(state), project.ran()
        outcome = _resume(project, state)
        if outcome == "refused" and fault.may_refuse:
            return outcome
        if outcome != "succeeded":
            raise Broken(outcome)
        if project.artifacts(state) != project.expected:
            raise Broken("the artifacts are not those of an undisturbed run")
        again = {node for node in done if project.ran()[node] > before[node]}
        if again and not fault.may_redo:
            raise Broken(f"these ran again, and had counted as done: {sorted(again)}")
        _demand_nobody_left(project)
        return "redone" if again else "completed"
    except Broken as broken:
        raise Broken(f"{name}, seed {seed}: {broken}") from None
    finally:
        for process in project.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        shutil.rmtree(played.folder, ignore_errors=True)


def _resume(project: Project, state: str) -> str:
    """Go on until the run has succeeded; or what is in the way."""
    for _ in range(MOST_RESUMES):
        listed = project.attempt("flowrun", "runs", "--state", state, "--json")
        runs = json.loads(listed.stdout) if listed.returncode == 0 else []
        words = ["--resume", runs[0]["run"]] if runs else []
        done = project.attempt("flowrun", "execute", PLAN, "--state", state, *words)
        if "Traceback" in done.stderr:
            raise Broken(f"a traceback:\n{done.stderr}")
        if done.returncode == 0:
            return "succeeded"
    return "refused" if "error[FR3" in done.stderr else f"it does not end well:\n{done.stdout}{done.stderr}"


def _demand_nobody_left(project: Project) -> None:
    """Wait a moment for what was told to end."""
    until = time.monotonic() + 5
    while left := project.processes():
        if time.monotonic() > until:
            raise Broken(f"left behind: {[process.cmdline() for process in left]}")
        time.sleep(0.01)


def main() -> int:
    """Play trials, and print what came out as the rows of a table; 1 if anything broke."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, default=10, help="trials of each fault (default: 10)")
    parser.add_argument("--only", default="", help="faults whose names contain this")
    parser.add_argument("--seed", type=int, default=0, help="of the first trial")
    options = parser.parse_args()
    broke = 0
    with tempfile.TemporaryDirectory() as name:
        project = Project(Path(name))
        print(f"an undisturbed run takes {project.took_s:.2f} s")
        for fault in (fault for fault in FAULTS if options.only in fault):
            outcomes: Counter[str] = Counter()
            for seed in range(options.seed, options.seed + options.times):
                try:
                    outcomes[trial(project, fault, seed)] += 1
                except Broken as broken:
                    outcomes["broke"] += 1
                    print(broken, file=sys.stderr)
            broke += outcomes["broke"]
            came = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
            print(f"| {FAULTS[fault].act.__doc__} | {options.times} | {came} |", flush=True)
    return 1 if broke else 0


if __name__ == "__main__":
    sys.exit(main())
