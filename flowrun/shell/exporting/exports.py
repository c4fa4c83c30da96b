"""Files for other tools: traces, JUnit XML."""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path

from flowc.plan.diagnostics import Place, refuse
from flowrun.core.state import State
from flowrun.shell.log.finding import state_of
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.showing.report import RunReport, failures


def replace(path: Path, content: bytes) -> None:
    """Write a file as a whole, so that nobody reads half of it; `Refused` (FR157) if that is not possible."""
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.exists() and not path.is_file():  # /dev/stdout, a pipe
            path.write_bytes(content)
            return
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        refuse("FR157", f"the file cannot be written: {error.strerror}", Place(str(path)))


def write_trace(log: RunLog, run: str, output: Path | None) -> str:
    """Write a run's trace; a sentence about it."""
    from flowrun.core.trace import trace
    from flowrun.shell.exporting.perfetto import encode

    row = log.find(run)
    state_of(log, row.run)  # or it never began
    executions = ((log.opening(changes[0]), changes) for changes in log.executions(row.run))
    traced = trace(executions)
    path = output or Path(f"{row.run}.trace.json")
    replace(path, encode(row.run, row.workflow, traced, log.capacity(row.run)))
    return f"{path}: open it in https://ui.perfetto.dev"


def write_junit(path: Path, report: RunReport, state: State, home: Home) -> None:
    """Write what came of each node, for CI servers."""
    from flowrun.shell.exporting.junit import as_junit

    operators = {task.node.id: task.site.op.replace(":", ".") for task in state.tasks}
    failed = [task.node.id for task in state.tasks if task.state == "failed" and task.failure is not None]
    problems = dict(zip(failed, failures(report.run, state, home), strict=True))
    text = as_junit(report, problems, operators, socket.gethostname())
    replace(path, text.encode("utf-8"))
