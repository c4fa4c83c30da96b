"""`flowrun daemon`: many runs of many teams on one host, in one process with one loop."""

from __future__ import annotations

import select
from pathlib import Path
from typing import assert_never

import msgspec

from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowc.plan.text import counted
from flowrun.core.fleet import evict
from flowrun.core.sharing.teams import Sharing
from flowrun.service import sockets
from flowrun.service.arrivals import Arrivals
from flowrun.service.messages import (
    Answer,
    AskQueue,
    AskTeams,
    Cancel,
    Cancelling,
    QueueAnswer,
    Refusal,
    Request,
    Submit,
    Submitted,
    TeamsAnswer,
    decode_request,
)
from flowrun.service.runs import Runs
from flowrun.service.tables import queue_table, teams_table
from flowrun.shell import teams
from flowrun.shell.clock import now_ms
from flowrun.shell.host import devices
from flowrun.shell.host.leases import Leases
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.loop import PATIENCE_MS, Signals
from flowrun.shell.saying import say

_PATIENCE_S = 0.5  # with who has the run log's database: nobody else is served meanwhile
_ENDING = Diagnostic(
    "FR147", "the daemon is about to end, and takes no more runs", hint="submit it to the next one"
)


class Settings(msgspec.Struct, frozen=True):
    """What the command line asks for. What runs at the end of the daemon may go on for `grace_s`.

    `on_end` are commands and URLs that are told of the end of every run.
    """

    teams: Path | None
    devices: str
    state: Path
    grace_s: float
    on_end: tuple[str, ...] = ()


def serve(settings: Settings) -> None:
    """Execute what is submitted, until a signal comes."""
    home = Home(settings.state)
    home.prepare()
    lock = sockets.hold(home)
    capacity = devices.host(settings.devices)
    sharing = teams.read(settings.teams, capacity) if settings.teams else Sharing()
    leases = Leases(capacity, devices.is_pretended(settings.devices, capacity))
    log = RunLog(home, writable=True, patience_s=_PATIENCE_S)
    runs = Runs(home, log, capacity, sharing, leases, settings.on_end)
    listener = sockets.listen(home)
    signals = Signals()
    try:
        where = f"on {devices.describe(capacity)}, for {counted(len(sharing.teams), 'team')}"
        say([f"flowrun daemon: {where}; `flowrun submit PLAN` gives it work"])
        runs.resume_all()
        _Daemon(runs, sockets.Clients(listener), signals, settings.grace_s).go()
    finally:
        sockets.close(home, listener)
        runs.close()
        lock.close()
        signals.close()


class _Daemon:
    """The loop of the runs, with people's requests and signals between its turns."""

    def __init__(self, runs: Runs, clients: sockets.Clients, signals: Signals, grace_s: float) -> None:
        self._runs = runs
        self._clients = clients
        self._signals = signals
        self._grace_ms = round(grace_s * 1000)
        self._arrivals = Arrivals(self._give)
        self._ends_ms: int | None = None  # when what runs is asked to end

    def go(self) -> None:
        """Go on until a signal has come and nothing runs, or a second one has."""
        woken = self._signals.woken.fileno()
        while True:
            listens = {woken: select.POLLIN, **self._clients.listens(), **self._arrivals.listens()}
            ready = self._runs.loop.turn(listens, 0 if self._arrivals.due else PATIENCE_MS)
            self._arrivals.advance(ready)
            for client, text in self._clients.lines(ready):
                self._hear(client, text)
            self._runs.let_go()
            count = self._signals.count()
            if count and self._ends_ms is None:
                self._drain()
                count -= 1
            if self._ends_ms is not None:
                if count or not self._runs.running():
                    break
                if now_ms() >= self._ends_ms:
                    self._runs.loop.commit(evict(self._runs.loop.fleet, now_ms()))
        self._arrivals.close(Refusal((_ENDING,)))
        self._runs.loop.settle()
        left = counted(len(self._runs.loop.executions), "run")
        say([f"ended; {left} will go on when there is a daemon again" if left[0] != "0" else "ended"])

    def _drain(self) -> None:
        """Nothing starts any more; what runs may come to its end."""
        self._runs.loop.fleet.paused.add("ending")
        self._ends_ms = now_ms() + self._grace_ms
        self._arrivals.close(Refusal((_ENDING,)))
        if running := self._runs.running():
            may = f"{counted(running, 'node')} may go on for {self._grace_ms / 1000:g} s"
            say([f"ending: nothing starts any more, {may}; another signal ends all at once"])

    def _hear(self, client: sockets.Client, text: bytes) -> None:
        """Answer a request, or take it up."""
        try:
            request = _read(text)
            if isinstance(request, Submit):
                if self._ends_ms is not None:
                    raise Refused(_ENDING)
                self._arrivals.add(client, self._runs.submit(request))
            else:
                self._give(client, self._answer(request))
        except Refused as refusal:
            client.answer(Refusal(refusal.diagnostics))

    def _give(self, client: sockets.Client, answer: Answer) -> None:
        """Answer, once that is durable which a client may count on. That a run is ended need not be."""
        loop = self._runs.loop
        match answer:
            case Submitted():
                loop.when_durable(lambda: client.answer(answer))
            case Cancelling():
                asked = msgspec.structs.replace
                loop.when_durable(
                    lambda: client.answer(answer), lambda: client.answer(asked(answer, outage=loop.outage))
                )
            case _:
                client.answer(answer)

    def _answer(self, request: Cancel | AskQueue | AskTeams) -> Answer:
        runs = self._runs
        match request:
            case Cancel():
                return runs.cancel(request.run)
            case AskQueue():
                return QueueAnswer(queue_table(runs.loop.fleet, runs.order, now_ms()))
            case AskTeams():
                return TeamsAnswer(teams_table(runs.loop.fleet, runs.order, runs.finished))
            case _:
                assert_never(request)


def _read(text: bytes) -> Request:
    try:
        return decode_request(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:  # ValidationError is one
        hint = "`flowrun submit`, `cancel`, `queue` and `teams` ask as it expects, if they are of its version"
        refuse("FR148", f"the daemon does not understand a request: {error}", hint=hint)
