"""Sending a run to OpenTelemetry and OpenLineage: by a process of its own, which follows the run's log.

So whatever becomes of a receiver, it can neither hold up the run nor fail it, and what happened while it was
slow is sent later.

    python -m flowrun.shell.exporting.sending STATE RUN SINCE otel=URL openlineage=TARGET on_end=TARGET
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import IO, Protocol

from flowc.plan.diagnostics import refuse
from flowrun.core.changes import AnyChange, Opened
from flowrun.core.state import State
from flowrun.shell.exporting.ending import COMMAND_S, tell
from flowrun.shell.log.following import follow
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.saying import complain
from flowrun.shell.showing.report import report

PATIENCE_S = 10.0  # at the end of a run: what is not sent by then is lost
_TOLD = "went wrong: "  # what the process says so is for people
_NEEDS = {"otel": "opentelemetry.exporter.otlp.proto.http", "openlineage": "openlineage.client"}
_OTEL = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


class Exporter(Protocol):
    """Sends what happens in a run somewhere."""

    def see(self, state: State, change: AnyChange) -> None:
        """A change, which is applied to the state."""

    def close(self, state: State) -> str:
        """The end, or as far as it came. What went wrong, in words; empty if nothing did."""


def wanted(otel: str, openlineage: str, environment: Mapping[str, str]) -> dict[str, str]:
    """Where to send a run: as the command line says, or as OpenTelemetry's variables do.

    `Refused` (FR158) if what the command line asks for is not installed.
    """
    targets = {name: target for name, target in (("otel", otel), ("openlineage", openlineage)) if target}
    for name in targets:
        if not _is_installed(name):
            hint = f"`pip install 'flow-toolchain[{name}]'`"
            refuse("FR158", f"`--{name}` needs the extra `{name}`, which is not installed", hint=hint)
    disabled = environment.get("OTEL_SDK_DISABLED", "").lower() == "true"
    exporter = environment.get("OTEL_TRACES_EXPORTER", "otlp")
    if not otel and exporter == "otlp" and not disabled and any(environment.get(name) for name in _OTEL):
        if _is_installed("otel"):
            targets["otel"] = "environment"
        else:
            print("note: no spans are sent: the extra `otel` is not installed", file=sys.stderr)
    return targets


class Exports:
    """The process that sends a run, and then tells `on_end` of it."""

    def __init__(
        self, home: Home, run: str, since: int, targets: Mapping[str, str], on_end: Sequence[str] = ()
    ) -> None:
        self.run = run
        self.patience_s = PATIENCE_S + COMMAND_S * len(on_end)
        self._began_s = time.monotonic()
        self._said: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115
        words = [str(home.folder), run, str(since), *(f"{name}={to}" for name, to in targets.items())]
        words += [f"on_end={target}" for target in on_end]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "flowrun.shell.exporting.sending", *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._said,
            process_group=0,  # Ctrl-C ends the run, which is something to tell
        )

    def finish(self) -> None:
        """Wait until all is sent, but not for long; say on standard error what is not."""
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            complain(f"note: not all of the run was sent within {PATIENCE_S:g} s of its end")
            return
        for why in self._problems(status):
            complain(f"note: the run could not be sent: {why}")

    def outcome(self) -> list[str] | None:
        """For who does not wait: what went wrong, in lines; `None` while it goes on."""
        status = self._process.poll()
        if status is None:
            if time.monotonic() - self._began_s < self.patience_s:
                return None
            self.end()
            return [f"not all was sent within {self.patience_s:g} s"]
        return self._problems(status)

    def end(self) -> None:
        """End it, whatever is not sent."""
        self._process.kill()
        self._process.wait()

    def _problems(self, status: int) -> list[str]:
        """What it said went wrong, whatever libraries said, too; else the last line, as of a traceback."""
        if not status:
            return []
        self._said.seek(0)
        lines = self._said.read().decode("utf-8", "replace").strip().splitlines()
        told = [line.removeprefix(_TOLD) for line in lines if line.startswith(_TOLD)]
        return told or lines[-1:] or [f"exit status {status}"]


def export(log: RunLog, run: str, since: int, exporters: Sequence[Exporter]) -> list[str]:
    """Send a run up to its end; what went wrong."""
    state: State | None = None
    for changes in follow(log, run, since):
        for change in changes:
            if isinstance(change, Opened):
                state = State(log.plan(change.plan), change.inputs, change.versions)
            if state is None:
                continue  # in the middle of an execution: of that nothing is sent
            state.apply(change)
            for exporter in exporters:
                exporter.see(state, change)
    return [said for exporter in exporters if state is not None and (said := exporter.close(state))]


def exporters_for(targets: Mapping[str, str], run: str, environment: Mapping[str, str]) -> list[Exporter]:
    """What sends to the targets. Loads their libraries."""
    found: list[Exporter] = []
    for name, target in targets.items():
        if name == "otel":
            from flowrun.shell.exporting.otel import Spans

            found.append(Spans.to("" if target == "environment" else target, run, environment))
        else:
            from flowrun.shell.exporting.lineage_events import LineageEvents

            found.append(LineageEvents.to(target, run, environment))
    return found


def _is_installed(name: str) -> bool:
    with contextlib.suppress(ImportError):
        return find_spec(_NEEDS[name]) is not None
    return False


def _tell(log: RunLog, run: str, on_end: Sequence[str]) -> list[str]:
    """Tell of a run that is over; what went wrong."""
    state = log.state_of(run)
    if state is None or state.status == "running":  # who executed it is gone
        return []
    return tell(on_end, report(run, state.status, state, log.home, state.ended_ms))


def main() -> None:
    """The process."""
    folder, run, since, *words = sys.argv[1:]
    pairs = [(name, target) for name, _, target in (word.partition("=") for word in words)]
    targets = {name: target for name, target in pairs if name != "on_end"}
    log = RunLog(Home(Path(folder)))
    problems = export(log, run, int(since), exporters_for(targets, run, os.environ))
    if on_end := [target for name, target in pairs if name == "on_end"]:
        problems += _tell(log, run, on_end)
    for problem in problems:
        print(f"{_TOLD}{problem}", file=sys.stderr)
    sys.stderr.flush()
    os._exit(bool(problems))  # threads of libraries that still try are not waited for


if __name__ == "__main__":
    main()
