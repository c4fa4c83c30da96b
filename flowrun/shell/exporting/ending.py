"""`--on-end`: telling that a run is over, by a command or a webhook. It never changes how the run ended."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence

import msgspec

from flowrun.shell.showing.report import RunReport, abbreviate

COMMAND_S, URL_S = 60.0, 10.0  # time limits
_LAST = 500  # characters of what a command printed


def is_url(target: str) -> bool:
    """Whether a target is a URL; else it is a command."""
    return target.startswith(("http://", "https://"))


def tell(targets: Sequence[str], report: RunReport) -> list[str]:
    """Tell of a run's end; what did not work, in sentences."""
    if not targets:
        return []
    body, problems = summary(report), []
    for target in targets:
        problem = _post(target, body) if is_url(target) else _command(target, report, body)
        if problem:
            problems.append(f"`--on-end {target}` did not work: {problem}")
    return problems


def summary(report: RunReport) -> bytes:
    """What is told, as JSON: the run, its nodes by state, what failed, the result abbreviated."""
    states: dict[str, int] = {}
    for node in report.nodes:
        states[node.state] = states.get(node.state, 0) + 1
    failed = [
        {"node": node.node, "code": node.failure.code, "message": node.failure.message[:1000]}
        for node in report.nodes
        if node.state == "failed" and node.failure is not None
    ]
    told = {
        "run": report.run,
        "workflow": report.workflow,
        "status": report.status,
        "inputs": abbreviate(report.inputs),
        "started_ms": report.started_ms,
        "wall_ms": report.wall_ms,
        "nodes": states,
        "failed": failed[:20],
        "result": report.result,
    }
    return msgspec.json.encode(told)


def _post(url: str, body: bytes) -> str:
    """What went wrong, in words; empty if nothing did."""
    from http.client import HTTPException
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    headers = {"Content-Type": "application/json", "User-Agent": "flowrun"}
    try:
        with urlopen(Request(url, body, headers), timeout=URL_S):
            return ""
    except HTTPError as error:
        return f"it answered {error.code} {error.reason}"
    except URLError as error:
        return str(error.reason)
    except (OSError, HTTPException, ValueError) as error:
        return str(error) or type(error).__name__


def _command(command: str, report: RunReport, body: bytes) -> str:
    """What went wrong, in words; empty if nothing did. It and all that it started end with the time limit."""
    environment = {**os.environ, "FLOW_RUN": report.run, "FLOW_STATUS": report.status}
    try:
        process = subprocess.Popen(
            command,
            shell=True,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        return str(error.strerror)
    try:
        _, said = process.communicate(body, COMMAND_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return f"it took longer than {COMMAND_S:g} s"
    if process.returncode:
        last = said.decode("utf-8", "replace").strip()[-_LAST:]
        return f"exit status {process.returncode}{f': {last}' if last else ''}"
    return ""
