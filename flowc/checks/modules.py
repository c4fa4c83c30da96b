"""Modules and their workflows, imported and compiled in a process of their own.

Whatever a module does to the process that imports it, ending it or never coming back included, costs that
module only. What it prints goes to standard error. The process is a fork: it need not start Python again.
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any, NamedTuple, NoReturn

import msgspec

from flowc.checks.committed import Committed, orphan, stale
from flowc.compiler import Draft, Options, compiled
from flowc.definitions import definition_of
from flowc.lang import Workflow
from flowc.plan.codec import encode, read
from flowc.plan.diagnostics import Diagnostic, Label, Place, Refused
from flowc.plan.history import Record, of_plan
from flowc.plan.model import Plan
from flowc.source import load_module, own_place
from flowc.static import texts_of
from flowc.timing import Stopwatch

_GRACE_S = 2.0  # after the time limit, for a module that catches everything: then its process is ended
_LOOK_S = 0.2  # how soon the end of a process is noticed if somebody else holds its pipe open


class Target(msgspec.Struct, frozen=True):
    """A module's file, relative to the current folder, and the committed plans of its workflows."""

    file: str
    plans: tuple[Committed, ...] = ()


class Checked(msgspec.Struct, frozen=True, tag=True):
    """What came of one thing that was checked: a workflow, or (`workflow` is "") a file as a whole.

    `line` is where the workflow is defined, 0 if that is not known.
    """

    file: str
    workflow: str = ""
    line: int = 0
    seconds: float = 0.0
    diagnostics: tuple[Diagnostic, ...] = ()

    @property
    def reference(self) -> str:
        """How `flowc compile` is told of it."""
        return f"{self.file}:{self.workflow}" if self.workflow else self.file

    @property
    def failed(self) -> bool:
        """Whether something is wrong with it, which a warning does not say."""
        return any(found.severity == "error" for found in self.diagnostics)


class Began(msgspec.Struct, frozen=True, tag=True):
    """The process begins with a target, by its index, or with a workflow of it."""

    target: int
    workflow: str = ""
    at: Place | None = None


class Imported(msgspec.Struct, frozen=True, tag=True):
    """The process is done. The files below the current folder that it imported."""

    files: tuple[str, ...]


Message = Began | Checked | Imported


class End(NamedTuple):
    """How a module or a workflow went without coming to its end, and the way out if there is one."""

    said: str
    hint: str = ""


class Stalled(BaseException):
    """The time limit has passed. Not an `Exception`, which modules catch."""


def check_modules(targets: Sequence[Target], timeout_s: float) -> Iterator[Checked | Imported]:
    """Check the workflows of modules that are imported from one folder, each within a time limit.

    They share a process, as they would in a program that imports them all.
    """
    skipped: frozenset[str] = frozenset()  # workflows of the first target, which are done with
    while targets:
        last = Began(0)
        seen = set(skipped)
        process = _in_a_process(targets, skipped, timeout_s)
        while True:
            try:
                message = next(process)
            except StopIteration as ended:
                died = ended.value
                break
            match message:
                case Began():
                    if message.target != last.target:
                        seen.clear()
                    last = message
                    seen.add(message.workflow)
                case Checked() | Imported():
                    yield message
        if not died:
            return
        yield _dead(targets[last.target].file, last.workflow, died, *([last.at] if last.at else []))
        # Go on with the next workflow, or after a module that cannot even be imported with the next module.
        skipped = frozenset(seen) if last.workflow else frozenset()
        targets = targets[last.target + (not last.workflow) :]


def _dead(file: str, workflow: str, end: End, *at: Place) -> Checked:
    """FC006 for a module or a workflow."""
    when = f"while `{workflow}` was traced" if workflow else "while it was imported"
    diagnostic = Diagnostic(
        "FC006",
        f"`{file}` {end.said} {when}",
        tuple(Label(place) for place in at) or (Label(Place(file)),),
        hint=end.hint,
    )
    return Checked(file, workflow, at[0].line if at else 0, 0.0, (diagnostic,))


def _in_a_process(
    targets: Sequence[Target], skipped: frozenset[str], timeout_s: float
) -> Generator[Message, None, End | None]:
    """Yield what a fork says; return how it ended if it was not done."""
    reading, writing = os.pipe()
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _be_the_process(writing, targets, skipped, timeout_s)
    os.close(writing)
    with contextlib.suppress(OSError):  # done by whichever of the two comes first
        os.setpgid(pid, pid)
    status: int | None = None
    try:
        decoder = msgspec.json.Decoder(Message)
        rest, patience_s = b"", timeout_s + _GRACE_S
        last_heard = time.monotonic()
        while True:
            ready = select.select([reading], [], [], _LOOK_S if status is None else 0)[0]
            if ready and (data := os.read(reading, 1 << 16)):
                last_heard = time.monotonic()
                *lines, rest = (rest + data).split(b"\n")
                for line in lines:
                    message = decoder.decode(line)
                    yield message
                    if isinstance(message, Imported):
                        return None
            elif status is not None:
                return _said_of(status)
            elif time.monotonic() - last_heard > patience_s:
                return _too_long(timeout_s)
            else:
                gone, found = os.waitpid(pid, os.WNOHANG)
                status = found if gone else None  # what it said before is still to be read
                if ready and not gone:  # it closed the pipe, and is about to end
                    time.sleep(0.005)
    finally:
        os.close(reading)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(pid, signal.SIGKILL)  # with whatever it started
        if status is None:
            os.waitpid(pid, 0)


def _said_of(status: int) -> End:
    code = os.waitstatus_to_exitcode(status)
    return End(f"ended Python with exit status {code}" if code >= 0 else f"died of {_signal_name(-code)}")


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _be_the_process(
    writing: int, targets: Sequence[Target], skipped: frozenset[str], timeout_s: float
) -> NoReturn:
    status = 1
    try:
        os.setpgid(0, 0)
        os.dup2(2, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        sys.dont_write_bytecode = True  # a check leaves nothing behind
        gc.enable()
        gc.set_threshold(200_000, 20, 20)  # what a plan is made of stays until the plan is dropped as a whole
        signal.signal(signal.SIGALRM, _stall)
        with open(writing, "wb") as pipe:
            for message in _look_at(targets, skipped, timeout_s):
                pipe.write(msgspec.json.encode(_valid(msgspec.to_builtins(message))) + b"\n")
                pipe.flush()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _look_at(targets: Sequence[Target], skipped: frozenset[str], timeout_s: float) -> Iterator[Message]:
    for index, target in enumerate(targets):
        yield Began(index)
        try:
            with _limited(timeout_s):
                module, root = load_module(target.file)
        except Refused as refusal:
            yield Checked(target.file, diagnostics=refusal.diagnostics)
            continue
        except Exception:
            raise  # ours: modules' exceptions are refused
        except BaseException as error:
            yield _dead(target.file, "", _said_by(error, timeout_s), *own_place(error))
            continue
        workflows = _defined_in(module)
        done = skipped if index == 0 else frozenset()
        for name in [name for name in workflows if name not in done]:
            at = definition_of(workflows[name].origin)
            yield Began(index, name, at)
            yield _check(target, name, workflows[name], root, at, timeout_s)
        yield from _orphans(target, {workflow.name for workflow in workflows.values()})
    files = (str(getattr(module, "__file__", None) or "") for module in list(sys.modules.values()))
    yield Imported(tuple(sorted({file for file in files if file.startswith(str(Path.cwd()))})))


def _check(
    target: Target, name: str, workflow: Workflow[..., Any], root: str, at: Place, timeout_s: float
) -> Checked:
    start = time.perf_counter()
    found: list[Diagnostic] = []
    try:
        with _limited(timeout_s):
            committed = [c for c in target.plans if c.name == workflow.name]
            for plan in committed:  # each with the static inputs and the history that it was compiled with
                static = texts_of(plan.static, workflow.static)
                draft = _compiled(workflow, Options(root, static, history=_history(plan)))
                found += draft.warnings
                found += [d for d in [_stale(plan, draft.plan, f"{target.file}:{name}", at)] if d]
            if not committed:
                found += _compiled(workflow, Options(root)).warnings
    except Refused as refusal:
        found += refusal.diagnostics
    except Exception:
        raise  # ours: the workflow's exceptions are refused
    except BaseException as error:
        dead = _dead(target.file, name, _said_by(error, timeout_s), *(own_place(error) or [at]))
        found += dead.diagnostics
    return Checked(target.file, name, at.line, round(time.perf_counter() - start, 3), tuple(found))


def _compiled(workflow: Workflow[..., Any], options: Options) -> Draft:
    return compiled(workflow, options, Stopwatch(time.perf_counter))


def _history(committed: Committed) -> tuple[Record, ...]:
    with contextlib.suppress(Refused):  # a broken plan is told of as one that does not match
        return of_plan(read(committed.path))
    return ()


def _stale(committed: Committed, plan: Plan, reference: str, at: Place) -> Diagnostic | None:
    # A module can be found from several folders; the plan says from which it was.
    header = msgspec.structs.replace(plan.header, root=committed.root)
    data = encode(msgspec.structs.replace(plan, header=header))
    usual = f"plans/{plan.header.name}.plan.jsonl"
    command = f"flowc compile {reference}" + (f" -o {committed.path}" if committed.path != usual else "")
    return stale(Path(committed.path), data, command, at)


def _orphans(target: Target, names: set[str]) -> Iterator[Checked]:
    for plan in target.plans:
        if plan.name not in names:
            message = f"`{target.file}` has no workflow `{plan.name}`, of which `{plan.path}` is the plan"
            yield Checked(plan.path, diagnostics=(orphan(plan.path, message),))


def _defined_in(module: ModuleType) -> dict[str, Workflow[..., Any]]:
    """The workflows of a module by name, in the order of their definition; imported ones are others'."""
    found: dict[str, Workflow[..., Any]] = {}
    for name, value in list(vars(module).items()):
        defined = isinstance(value, Workflow) and value.fn.__module__ == module.__name__
        if defined and not any(value is known for known in found.values()):
            found[name] = value
    return found


def _said_by(error: BaseException, timeout_s: float) -> End:
    """What a module did, by what came out of it that is no exception."""
    return _too_long(timeout_s) if isinstance(error, Stalled) else End(f"raised `{type(error).__name__}`")


def _too_long(timeout_s: float) -> End:
    return End(f"did not come to its end within {timeout_s:g} s", "`--timeout` gives it more time")


@contextlib.contextmanager
def _limited(timeout_s: float) -> Iterator[None]:
    """Raise `Stalled` in the block after a time."""
    signal.setitimer(signal.ITIMER_REAL, timeout_s)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _stall(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise Stalled


def _valid(value: Any) -> Any:
    """The same with every text as valid Unicode: a module's exceptions say what they like."""
    match value:
        case str():
            return value.encode("utf-8", "backslashreplace").decode()
        case dict():
            return {key: _valid(item) for key, item in value.items()}
        case list() | tuple():
            return [_valid(item) for item in value]
        case _:
            return value
