"""What it means for an attempt that its process ended, or could not be had."""

from __future__ import annotations

import os
import signal

from flowrun.core.model import Failure, Usage
from flowrun.shell.host import cgroups
from flowrun.shell.host.memory import Kills
from flowrun.shell.workers.processes import Worker

LOST = Failure("FR207", "the process that starts workers died, and the node's process with it")
UNREAD = Failure("FR207", "its process died before the node began")


def no_process(why: str) -> Failure:
    """There can be no process for it."""
    hint = "raise the limit on processes (`ulimit -u`) or open files (`ulimit -n`), or run fewer at once"
    return Failure("FR211", f"no process can be started for it: {why}", hint=hint)


def end_of(worker: Worker | None, status: int, usage: Usage, kills: Kills) -> tuple[Failure, Usage]:
    """Why a worker's attempt ended with its process, by the wait status of that, and what it used."""
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed or worker is None or worker.doomed:
        return Failure("FR202", _described(status)), usage
    by_kernel = kills.moved()  # asked in any case, so that it is accounted for
    if worker.group:  # there it is known of whom the kernel killed something, and how much they all held
        by_kernel = cgroups.was_killed(worker.group)
        if by_kernel:
            usage = Usage(usage.cpu_ms, max(usage.peak_mb, cgroups.peak_mb(worker.group)))
    if not by_kernel:
        return Failure("FR202", _described(status)), usage
    asked_mb = worker.order.memory_mb if worker.order is not None else 0
    asked = f"; it had asked for {asked_mb} MB" if asked_mb else ""
    return Failure("FR213", f"the kernel killed its process: memory ran out{asked}"), usage


def _described(status: int) -> str:
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        why = " (the kernel does that when memory runs out)" if number == signal.SIGKILL else ""
        return f"its process was killed by {name}{why}"
    return f"its process exited with status {os.waitstatus_to_exitcode(status)} without a result"
