"""`flowrun cancel`: having the process that executes a run end it, as Ctrl-C does where it runs."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import NoReturn

from flowc.plan.diagnostics import refuse
from flowrun.shell.log.home import Home
from flowrun.shell.log.locks import executing
from flowrun.shell.log.runlog import RunRow


def cancel(home: Home, row: RunRow) -> str:
    """Ask for a run's end; a sentence about it.

    `Refused` (FR153) if it does not run, or its process cannot be told.
    """
    pid = executing(home, row.run)
    if pid is None:
        _refuse(row)
    if pid == 0:
        message = f"run `{row.run}` is executed by a process that cannot be seen from here"
        refuse("FR153", message, hint="it is in another container: cancel it there")
    try:
        process = os.pidfd_open(pid)
    except OSError:  # it has just ended
        _refuse(row)
    try:
        if executing(home, row.run) != pid:  # by now its number may be that of any other process
            _refuse(row)
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(process, signal.SIGINT)
    except PermissionError:
        message = f"run `{row.run}` is executed by another user, in process {pid}"
        refuse("FR153", message, hint="ask its owner, or root")
    finally:
        os.close(process)
    return f"{row.run}: process {pid} is asked to end it; again: at once"


def _refuse(row: RunRow) -> NoReturn:
    match row.status:
        case "interrupted" | "running":
            message = f"run `{row.run}` is not running: it was interrupted"
            refuse("FR153", message, hint=f"`flowrun retry {row.run}` goes on with it")
        case status:
            message = f"run `{row.run}` is over: it {'was ' * (status == 'cancelled')}{status}"
            refuse("FR153", message)
