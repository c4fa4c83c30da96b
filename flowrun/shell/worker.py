"""A worker: one attempt of one node, in a process of its own, forked by the zygote."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import math
import os
import resource
import socket
import sys
import time
import traceback
from types import TracebackType
from typing import Any

import msgspec
from blake3 import blake3

from flowc.plan import runtime
from flowc.plan.diagnostics import Refused
from flowc.plan.types import violation
from flowrun.core.model import Artifact, Failure, Usage
from flowrun.shell.artifacts import Damaged, Missing, Store, Unstorable, convert
from flowrun.shell.messages import Ended, Spawn, encode

BROKEN = 70  # exit status when even reporting failed
_PR_SET_PDEATHSIG = 1
_MAX_TEXT = 4000
_SEE_TO_THE_DISK = "it was made again, in vain: see to the disk, then resume the run"


class Failed(Exception):
    """The attempt failed in a way that has a code."""

    def __init__(self, code: str, message: str, at: str = "", hint: str = "", damaged: str = "") -> None:
        self.failure = Failure(code, _clean(message), at, _clean(hint), damaged)


def _clean(text: str) -> str:
    """Not too long, and what UTF-8 cannot write (undecodable names of files, for one) escaped."""
    return text[:_MAX_TEXT].encode("utf-8", "backslashreplace").decode()


def rehearse(store: Store) -> None:
    """Go through the motions before there is an order.

    A forked process pays for each page that it touches for the first time: a few milliseconds in all, which
    no node should wait for.
    """
    _project()
    _resident_kb()
    _usage(0)
    with contextlib.suppress(Damaged):
        store.get(blake3(encode(Ended("", 0))).hexdigest())
    convert(msgspec.msgpack.decode(b"\x90"), list[str])


def run(order: Spawn, reports: socket.socket, store: Store) -> None:
    """Do the attempt, report how it ended, and exit the process."""
    began = time.monotonic()
    _settle(order)
    _project()
    inherited_kb = _resident_kb()
    ended = Ended(order.node, order.attempt, run=order.run)
    try:
        ended = msgspec.structs.replace(ended, artifact=_perform(order, store))
    except Failed as failed:
        ended = msgspec.structs.replace(ended, failure=failed.failure)
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the operator may have closed it; its result counts still
            stream.flush()
    wall_ms = round((time.monotonic() - began) * 1000)
    usage = msgspec.structs.replace(_usage(inherited_kb), wall_ms=max(1, wall_ms), imports=order.loaded)
    reports.send(encode(msgspec.structs.replace(ended, usage=usage)))
    os._exit(0 if ended.artifact else 1)


def _settle(order: Spawn) -> None:
    """Make the process the node's own: its log, its share of the CPUs, its GPUs."""
    log = os.open(order.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    for stream in (1, 2):
        os.dup2(log, stream)
    os.close(log)
    sys.stdout = os.fdopen(1, "w", buffering=1, errors="backslashreplace", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    for name in order.hidden:
        os.environ.pop(name, None)
    if order.scratch:
        os.environ["FLOW_SCRATCH"] = order.scratch
    threads = max(1, math.floor(order.cpus))
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:  # imported by the zygote, so that it has read the variables already
        sys.modules["torch"].set_num_threads(threads)
    if "numpy.random" in sys.modules:  # else every worker would draw the same numbers, those of the zygote
        sys.modules["numpy.random"].seed()
    if threads > 1 and "threadpoolctl" in sys.modules:
        sys.modules["threadpoolctl"].threadpool_limits(threads)
    if order.gpus is not None:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # NVML's numbering
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, order.gpus))


def signal_at_parents_death(number: int) -> None:
    """Have the kernel send this process a signal when the one that forked it is gone (Linux)."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def _resident_kb() -> int:
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024


def _usage(inherited_kb: int) -> Usage:
    """CPU time, and peak memory beyond what was shared with the zygote at the start."""
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime
    peak_kb = max(own.ru_maxrss - inherited_kb, children.ru_maxrss)
    return Usage(round(cpu_s * 1000), max(0, peak_kb) // 1024)


def _perform(order: Spawn, store: Store) -> Artifact:
    operator = _load(order)
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
        raise Failed("FR201", _sentence(error), _innermost(own)) from None
    wrong = violation(result, operator.gives, sizes, args)
    if wrong:
        raise Failed("FR205", f"`{order.op}` returned something other than it declares: the result {wrong}")
    return _keep(order, operator, result, store)


def _arguments(order: Spawn, operator: Any, store: Store) -> dict[str, Any]:
    """The arguments as the operator's annotations want them."""
    try:
        return {
            name: convert(_value(tree, store), operator.hints.get(name, Any))
            for name, tree in order.args.items()
        }
    except Missing as error:
        raise Failed("FR206", f"`{order.op}` cannot take its arguments: {error}") from None
    except Damaged as error:
        raise Failed("FR306", str(error), hint=_SEE_TO_THE_DISK, damaged=error.artifact) from None
    except (msgspec.ValidationError, TypeError) as error:
        raise Failed("FR206", f"`{order.op}` cannot take its arguments: {error}") from None


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


def _trim(step: TracebackType | None) -> TracebackType | None:
    """The traceback without this file's frames."""
    while step is not None and step.tb_frame.f_code.co_filename == __file__:
        step = step.tb_next
    return step


@functools.cache
def _project() -> str:
    """The folder that the run was started in; asked early, as an operator may leave it or delete it."""
    return os.getcwd()


def _innermost(step: TracebackType | None) -> str:
    """`path:line` of the innermost frame in the project; in a library, of the call into it."""
    here = _project() + os.sep
    found = ""
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if file.startswith(here) and f"{os.sep}site-packages{os.sep}" not in file:
            found = f"{file.removeprefix(here)}:{step.tb_lineno}"
        step = step.tb_next
    return found
