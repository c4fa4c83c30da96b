"""What a worker puts back between two nodes, and what it cannot put back: then it is not used again."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found] # without the enumerations of `signal`: a tenth of the time
import _thread
import contextlib
import gc
import os
import resource
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

from flowrun.core.model import Usage
from flowrun.shell.host.affinity import run_on
from flowrun.shell.host.cgroups import Confined
from flowrun.shell.host.memory import mapped_kb
from flowrun.shell.workers.descendants import end_children, have_children
from flowrun.shell.workers.messages import Spawn
from flowrun.shell.workers.places import beat_file, remove

# Of memory that a node left behind in its process. What is larger was worth a fork to get rid of.
_MOST_KEPT_KB = 128 * 1024
_SETTABLE = [number for number in signal.Signals if number not in (signal.SIGKILL, signal.SIGSTOP)]
_LIMITS = (resource.RLIMIT_AS, resource.RLIMIT_CPU, resource.RLIMIT_DATA, resource.RLIMIT_NOFILE)
_MUCH_KB = 64 * 1024  # of memory, to be worth a closer look
_PAGE_KB = resource.getpagesize() // 1024
_RESET_PEAK = b"5"  # written to `clear_refs`: the peak is what is resident now


class Surroundings:
    """A process as it was before its first node. `outputs` are what standard output and error go to."""

    def __init__(self, folder: str, outputs: list[int]) -> None:
        self._folder = folder
        self._made: tuple[int, int] | None = None  # the working directory, when it was last seen empty
        self._outputs = outputs
        self._texts: list[TextIO] = []
        os.environ["FLOW_BEAT"] = beat_file(folder)
        os.environ["PWD"] = folder  # else that of who started flowrun, which some programs believe
        self._cpus = os.sched_getaffinity(0)
        self._on: tuple[int, ...] = ()
        self._confined = Confined()
        self._statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._clear = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        self._files = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._variables: dict[bytes, bytes] = vars(os.environ)["_data"]  # compared at the price of one look
        self._original = dict(self._variables)
        self._set = self._original
        self._for: tuple[Any, ...] | None = None
        self._handlers = list(map(_signal.getsignal, _SETTABLE))
        self._path = list(sys.path)
        self._fixed = _cannot_be_put_back()
        self._threads = _thread._count()
        self._open = self._open_files()
        self._began_kb = self._mapped_kb = 0
        self._kept_kb = self._look()
        self._had_children = False
        self._used = resource.getrusage(resource.RUSAGE_SELF)
        self._problem: OSError | None = None  # with the working directory

    def settle(self, order: Spawn) -> None:
        """Make the process the node's own: its share of the CPUs and of the memory, its GPUs.

        `OSError` if it has no working directory.
        """
        if self._problem is not None:
            raise self._problem
        if order.on != self._on:
            self._on = order.on
            run_on(order.on, self._cpus)
        if order.group:
            self._confined.to(order.group, order.memory_mb, self.kept_kb // 1024)
        self._set_variables(order)

    def put_back(self) -> None:
        """What nodes may have changed is as it was; the working directory is there, and empty.

        That is done as soon as a node is over, for the next one not to wait.
        """
        os.dup2(self._outputs[0], 1)
        os.dup2(self._outputs[1], 2)
        self._open_texts()
        os.umask(0o022)
        if list(map(_signal.getsignal, _SETTABLE)) != self._handlers:
            self._restore_handlers()
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
        _signal.alarm(0)
        if sys.path != self._path:
            sys.path[:] = self._path
        gc.enable()
        for name, put_back in _MODULES.items():
            if name in sys.modules:
                put_back(sys.modules[name])
        try:
            self._enter_folder()
            self._problem = None
        except OSError as error:
            self._problem = error

    def leave(self) -> Usage:
        """What the node used, its output written. Everything that it started and left behind ends."""
        ours, now = self._texts, [sys.stdout, sys.stderr]
        for text in ours if now == ours else [*now, *ours]:
            with contextlib.suppress(Exception):  # the operator may have closed it; its result counts still
                text.flush()
        self._had_children = have_children()
        if self._had_children:
            end_children()
        return self._usage()

    def is_fit(self) -> bool:
        """Whether the process is as it was, but for what `put_back` sees to."""
        self._look()
        if self._used.ru_maxrss - self._began_kb > 1024:
            with contextlib.suppress(OSError):
                os.pwrite(self._clear, _RESET_PEAK, 0)
        return (
            _thread._count() == self._threads
            and not self._had_children  # a library may count on those that were ended
            and self._open_files() == self._open
            and self._began_kb - self._kept_kb <= _MOST_KEPT_KB
            and _cannot_be_put_back() == self._fixed
        )

    def _enter_folder(self) -> None:
        """Go to the working directory, and empty it."""
        folder = self._folder
        try:
            found = os.stat(folder)
            if (found.st_ino, found.st_mtime_ns) == self._made:  # nothing was put into it, not for a moment
                os.chdir(folder)
                return
        except FileNotFoundError:
            pass
        try:
            remove(folder)
        except (OSError, RecursionError):  # it is another user's, or too deep: it stays as it is
            folder = self._folder = f"{folder}+"
            self._original[b"PWD"] = os.fsencode(folder)
            os.environ["PWD"] = folder
            remove(folder)
        os.makedirs(folder, 0o700, exist_ok=True)
        os.chdir(folder)
        # No clock gives this time: whatever is done in the folder changes it, however soon.
        os.utime(folder, ns=(0, 0))
        self._made = (os.stat(folder).st_ino, 0)

    def _open_texts(self) -> None:
        texts = self._texts
        if not texts or any(text.closed for text in texts):
            self._texts = texts = [
                os.fdopen(descriptor, "w", buffering=1, errors="backslashreplace", closefd=False)
                for descriptor in (1, 2)
            ]
        sys.stdout, sys.stderr = texts

    def _restore_handlers(self) -> None:
        for number, handler in zip(_SETTABLE, self._handlers, strict=True):
            if handler is not None:
                _signal.signal(number, handler)

    def _set_variables(self, order: Spawn) -> None:
        wanted = (order.cpus, order.gpus, order.hidden)
        if wanted != self._for or self._variables != self._set:
            for name in self._variables.keys() - self._original.keys():
                del os.environ[os.fsdecode(name)]
            for name, value in self._original.items():
                if self._variables.get(name) != value:
                    os.environ[os.fsdecode(name)] = os.fsdecode(value)
            _share(order)
            self._for, self._set = wanted, dict(self._variables)
        if order.scratch:  # as `os.environ` does it
            scratch = os.fsencode(order.scratch)
            os.putenv(b"FLOW_SCRATCH", scratch)
            self._set[b"FLOW_SCRATCH"] = self._variables[b"FLOW_SCRATCH"] = scratch

    def _usage(self) -> Usage:
        """CPU time, and peak memory beyond what was there at the start."""
        before, self._used = self._used, resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = self._used.ru_utime + self._used.ru_stime - before.ru_utime - before.ru_stime
        peak_kb = self._used.ru_maxrss - self._began_kb
        if peak_kb > _MUCH_KB:
            peak_kb -= max(0, mapped_kb() - self._mapped_kb)  # of files: the kernel's to drop
        # Of this node alone: a worker that had children is not used again, as their peak cannot be reset.
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        if children.ru_maxrss:
            self._had_children = True
            cpu_s += children.ru_utime + children.ru_stime
            peak_kb = max(peak_kb, children.ru_maxrss)
        return Usage(round(cpu_s * 1000), max(0, peak_kb) // 1024)

    @property
    def kept_kb(self) -> int:
        """What the process held when it was last looked at, but for files that are mapped."""
        return self._began_kb - self._mapped_kb

    def _look(self) -> int:
        _, resident, mapped, _ = os.pread(self._statm, 64, 0).split(None, 3)
        self._began_kb, self._mapped_kb = int(resident) * _PAGE_KB, int(mapped) * _PAGE_KB
        return self._began_kb

    def _open_files(self) -> int:
        return os.fstat(self._files).st_size or len(os.listdir("/proc/self/fd"))  # 0 before Linux 6.2


def _share(order: Spawn) -> None:
    """The order's share of the host, as libraries are told of it."""
    for name in order.hidden:
        os.environ.pop(name, None)
    threads = order.threads
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS"):
        os.environ[name] = str(threads)
    if "torch" in sys.modules:  # imported by the zygote, so that it has read the variables already
        sys.modules["torch"].set_num_threads(threads)
    if threads > 1 and "threadpoolctl" in sys.modules:
        sys.modules["threadpoolctl"].threadpool_limits(threads)
    if order.gpus is not None:
        os.environ["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # NVML's numbering
        os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, order.gpus))


def _cannot_be_put_back() -> tuple[Any, ...]:
    return (
        os.geteuid(),
        os.getegid(),
        os.getpriority(os.PRIO_PROCESS, 0),
        *map(resource.getrlimit, _LIMITS),
    )


def _seed_numpy(random: Any) -> None:
    random.seed(int.from_bytes(os.urandom(4)))


def _seed(random: Any) -> None:
    random.seed(int.from_bytes(os.urandom(8)))


def _put_torch_back(torch: Any) -> None:
    torch.default_generator.manual_seed(67280421310721)  # what it begins with
    torch.set_grad_enabled(True)
    torch.set_default_dtype(torch.float32)


# What modules hold for all who use them, and how that is put back. Else every worker would draw the same
# numbers, those of the zygote, and a node those that another one asked for.
_MODULES: dict[str, Callable[[Any], None]] = {
    "random": _seed,
    "numpy.random": _seed_numpy,
    "torch": _put_torch_back,
}
