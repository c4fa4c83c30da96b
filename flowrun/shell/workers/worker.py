"""A worker: a process that runs attempts of nodes, one after the other, as the scheduler sends them."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import select
import socket
import sys
import time
import traceback
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

import msgspec
from blake3 import blake3

from flowc.plan import runtime
from flowc.plan.diagnostics import Refused
from flowc.plan.types import violation
from flowrun.core.model import Artifact, Failure, Usage
from flowrun.shell.host.shortage import OUT_OF_GPU_MEMORY, OUT_OF_MEMORY, code_of, wanted_mb
from flowrun.shell.lookout import look_out
from flowrun.shell.store.artifacts import Damaged, Missing, Store, Unstorable, convert
from flowrun.shell.workers import logging_in
from flowrun.shell.workers.descendants import adopt_orphans
from flowrun.shell.workers.messages import Ended, Prepare, Spawn, frame, receive_attempt
from flowrun.shell.workers.surroundings import Surroundings

BROKEN = 70  # exit status when even reporting failed
_MAX_TEXT = 4000
_SMALL_S = 0.001  # a node that takes no longer is likely to be followed by another one at once
_SEE_TO_THE_DISK = "it was made again, in vain: see to the disk, then resume the run"
_SHORTAGE = {OUT_OF_MEMORY: "it ran out of memory: ", OUT_OF_GPU_MEMORY: "it ran out of GPU memory: "}
_FIRST_TO_GO = b"300"  # of 1000: when memory runs out, the kernel is to end workers before their scheduler


class Failed(Exception):
    """The attempt failed in a way that has a code."""

    def __init__(
        self,
        code: str,
        message: str,
        at: str = "",
        hint: str = "",
        wanted_mb: int = 0,
        damaged: str = "",
    ) -> None:
        self.failure = Failure(code, _clean(message), at, _clean(hint), wanted_mb, damaged)


def _clean(text: str) -> str:
    """Not too long, and what UTF-8 cannot write (undecodable names of files, for one) escaped."""
    return text[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode()


def serve(
    channel: socket.socket, outputs: list[int], folder: str, prepare: Prepare, store: Store
) -> NoReturn:
    """Carry out orders until there are no more, or the process is not fit for another; then exit it."""
    global _project
    _project = os.environ["FLOW_PROJECT"] = prepare.project
    if prepare.root not in sys.path:
        sys.path.insert(0, prepare.root)
    adopt_orphans()
    _volunteer()
    surroundings = Surroundings(folder, outputs)
    _rehearse(surroundings, store)
    pid = os.getpid()
    orders = select.poll()
    orders.register(channel, select.POLLIN)
    while (order := receive_attempt(channel)) is not None:
        began = time.monotonic()
        logging_in.begin(order, channel, store)
        artifact, failure = _outcome(order, store, surroundings)
        if os.getpid() != pid:  # the operator forked, and this is the copy, which should have exited
            os._exit(0)
        logging_in.end()
        used = surroundings.leave()
        wall_s = time.monotonic() - began
        fit = failure is None and not order.alone and surroundings.is_fit()
        usage = Usage(used.cpu_ms, used.peak_mb, max(1, round(wall_s * 1000)))
        kept_kb = surroundings.kept_kb if fit else 0
        ended = Ended(order.node, order.attempt, artifact, failure, usage, order.run, fit, kept_kb)
        channel.sendall(frame(ended))
        surroundings.put_back()
        if not fit:
            break
        if wall_s < _SMALL_S:
            look_out(lambda: orders.poll(0))
    os._exit(0)


def _volunteer() -> None:
    with contextlib.suppress(OSError):
        adjustment = os.open("/proc/self/oom_score_adj", os.O_WRONLY | os.O_CLOEXEC)
        os.write(adjustment, _FIRST_TO_GO)
        os.close(adjustment)


def _rehearse(surroundings: Surroundings, store: Store) -> None:
    """Go through the motions before there is an order.

    A forked process pays for each page that it touches for the first time: a few milliseconds in all, which
    no node should wait for.
    """
    surroundings.put_back()
    surroundings.is_fit()
    with contextlib.suppress(Damaged):
        store.get(blake3(frame(Ended("", 0))).hexdigest())
    convert(msgspec.msgpack.decode(b"\x90"), list[str])


def _outcome(
    order: Spawn, store: Store, surroundings: Surroundings
) -> tuple[Artifact | None, Failure | None]:
    try:
        surroundings.settle(order)
    except OSError as error:
        return None, Failure("FR305", f"its working directory cannot be made: {error.strerror}")
    try:
        return _perform(order, store), None
    except Failed as failed:
        return None, failed.failure
    except MemoryError as error:  # while an argument was read, or the result stored
        traceback.print_exc()
        message = f"it ran out of memory around the operator's call: {_sentence(error)}"
        return None, Failure(OUT_OF_MEMORY, message, wanted_mb=wanted_mb(error))


def _perform(order: Spawn, store: Store) -> Artifact:
    operator = _load(order)
    runtime.order = order
    args = _arguments(order, operator, store)
    sizes = _check_arguments(order, operator, args)
    runtime.empty = store.empty
    try:
        result = operator.fn(**args)
    except Refused as refusal:  # an operator of ours that knows better than a traceback
        first = refusal.diagnostics[0]
        raise Failed(first.code, first.message, hint=first.hint) from None
    except BaseException as error:
        own = _trim(error.__traceback__)
        traceback.print_exception(type(error), error, own)
        code = code_of(error) or "FR201"
        message = _SHORTAGE.get(code, "") + _sentence(error)
        raise Failed(code, message, _innermost(own), _hint(error), wanted_mb(error)) from None
    wrong = violation(result, operator.gives, sizes, args)
    if wrong:
        raise Failed("FR205", f"`{order.op}` returned something other than it declares: the result {wrong}")
    return _keep(order, operator, result, store)


def _arguments(order: Spawn, operator: Any, store: Store) -> dict[str, Any]:
    """The arguments as the operator's annotations want them."""
    try:
        return _path_defaults(operator.fn) | {
            name: convert(_value(tree, store), operator.hints.get(name, Any), _project)
            for name, tree in order.args.items()
        }
    except Missing as error:
        raise Failed("FR206", f"`{order.op}` cannot take its arguments: {error}") from None
    except Damaged as error:
        raise Failed("FR306", str(error), hint=_SEE_TO_THE_DISK, damaged=error.artifact) from None
    except (msgspec.ValidationError, TypeError) as error:
        raise Failed("FR206", f"`{order.op}` cannot take its arguments: {error}") from None


@functools.cache
def _path_defaults(fn: Any) -> dict[str, Any]:
    """The parameters that are relative paths by default, from the project's folder."""
    code, defaults = getattr(fn, "__code__", None), getattr(fn, "__defaults__", None) or ()
    if code is None:
        return {}
    positional = code.co_varnames[: code.co_argcount]
    values = dict(zip(positional[len(positional) - len(defaults) :], defaults, strict=True))
    values |= fn.__kwdefaults__ or {}
    return {name: type(value)(_project, value) for name, value in values.items() if isinstance(value, Path)}


def _check_arguments(order: Spawn, operator: Any, args: dict[str, Any]) -> dict[str, int]:
    """See that arrays and data sets are as the operator declares; the sizes of the dimensions it names."""
    sizes: dict[str, int] = {}
    for name, value in args.items():
        wrong = violation(value, operator.takes[name], sizes, args)
        if wrong:
            raise Failed("FR206", f"`{order.op}` cannot take its arguments: `{name}` {wrong}")
    return sizes


def _keep(order: Spawn, operator: Any, result: Any, store: Store) -> Artifact:
    """Store a result, and see that it can be read back as the type that the operator declares."""
    try:
        artifact = store.put(result, order.pickles)
        store.get(artifact.source, (), operator.hints.get("return", Any))
    except Unstorable as error:
        hint = "return numbers, strings, lists, dicts, dataclasses, numpy arrays or tensors"
        raise Failed("FR204", f"`{order.op}` returned what cannot be stored: {error}", hint=hint) from None
    except (msgspec.ValidationError, TypeError) as error:
        message = f"`{order.op}` returned something other than it declares: {error}"
        raise Failed("FR205", message) from None
    except Damaged as error:
        raise Failed("FR306", str(error), hint=_SEE_TO_THE_DISK) from None
    except OSError as error:
        raise Failed("FR305", f"the result cannot be written: {error.strerror}") from None
    return artifact


def _load(order: Spawn) -> Any:
    """The operator, as its module defines it: `fn` is its function, `hints` are its annotations."""
    return _operators.get((order.op, order.code)) or _import(order)


def _import(order: Spawn) -> Any:
    module, _, name = order.op.partition(":")
    again = "compile the workflow again with `flowc compile`"
    try:
        found = getattr(importlib.import_module(module), name)
    except BaseException as error:
        own = _trim(error.__traceback__)
        traceback.print_exception(type(error), error, own)
        message = f"`{order.op}` cannot be loaded: {_sentence(error)}"
        hint = again if isinstance(error, AttributeError) else ""
        raise Failed("FR206", message, _innermost(own), hint) from None
    if not hasattr(found, "fn"):
        raise Failed("FR206", f"`{order.op}` is not an operator any more", hint=again)
    if found.code != order.code:
        raise Failed("FR206", f"`{order.op}` has changed since the plan was compiled", hint=again)
    _operators[order.op, order.code] = found
    return found


def _value(tree: Any, store: Store) -> Any:
    if isinstance(tree, list):
        return [_value(part, store) for part in tree]
    if isinstance(tree, dict):
        if "map" in tree:
            return {key: _value(part, store) for key, part in tree["map"].items()}
        return store.get(tree["artifact"], tree["at"]) if "artifact" in tree else tree["value"]
    return tree


def _sentence(error: BaseException) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _hint(error: BaseException) -> str:
    """What to do about a file that is looked for in the node's own folder, and lies in the project's."""
    name = error.filename if isinstance(error, FileNotFoundError) else None
    if not isinstance(name, str) or os.path.isabs(name):
        return ""
    there = " it is there;" if os.path.exists(os.path.join(_project, name)) else ""
    return (
        f"a node works in an empty folder of its own, not in the project's:{there} "
        "take a `Path` as parameter, or open `flowc.project() / ...`"
    )


def _trim(step: TracebackType | None) -> TracebackType | None:
    """The traceback without this file's frames."""
    while step is not None and step.tb_frame.f_code.co_filename == __file__:
        step = step.tb_next
    return step


_project = ""  # the folder that the run was started in
_operators: dict[tuple[str, str], Any] = {}  # that were loaded, by name and code


def _innermost(step: TracebackType | None) -> str:
    """`path:line` of the innermost frame in the project; in a library, of the call into it."""
    here = _project + os.sep
    found = ""
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file.startswith(here) and f"{os.sep}site-packages{os.sep}" not in file:
            found = f"{file.removeprefix(here)}:{step.tb_lineno}"
        step = step.tb_next
    return found
