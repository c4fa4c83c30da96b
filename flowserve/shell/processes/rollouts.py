"""Judges the rollouts of a server again and again, by what its processes have seen, and does what follows."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable
from typing import assert_never

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.changes import Ended
from flowserve.core.catalog.rolling import EndRollout, Step
from flowserve.core.models.key import Key
from flowserve.core.observe.measures import RolloutMeasure
from flowserve.core.rollout.evidence import Evidence, summed
from flowserve.core.rollout.plan import Rollout
from flowserve.core.rollout.verdict import Advance, Looks, Promote, RollBack, Verdict, Wait, judge
from flowserve.shell.processes.control import PastRollout, RolloutRow
from flowserve.shell.processes.messages import Seen
from flowserve.shell.processes.supervisor import Supervisor

_PAUSE_S = 0.5
# How a model ends its process; a kill from outside may as well be for want of memory.
_CRASHES = {signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE}
_DEATHS_MAX = 3

_VERDICTS: dict[type[Verdict], str] = {Advance: "advance", Promote: "promote", RollBack: "roll back"}

_Id = tuple[str, str, int]
"""A step of a rollout: model, alias and serial."""


class Rollouts:
    """All rollouts of a server. `operate` does an operation in its turn; it raises `Refused`."""

    def __init__(
        self, supervisor: Supervisor, operate: Callable[[Step | EndRollout], Awaitable[list[str]]]
    ) -> None:
        self._supervisor = supervisor
        self._served = supervisor.served
        self._operate = operate
        self._steps: dict[_Id, _Watched] = {}
        self._past: dict[tuple[str, str], PastRollout] = {}
        self._deaths: dict[tuple[str, str], int] = {}
        self._doomed: dict[_Id, str] = {}
        self._counted: dict[tuple[str, str], Evidence] = {}
        self._verdicts: dict[tuple[str, str], Counter[str]] = {}
        supervisor.totals.rollouts = self.measures
        supervisor.on_seen = self._hear
        supervisor.on_death = self._died
        supervisor.on_failures = self._failed
        self._served.on_rollout_end = self._ended

    async def judging(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(_PAUSE_S)
            for (name, alias), rollout in self._now().items():
                await self._judge(name, alias, rollout)

    def rows(self) -> list[RolloutRow]:
        """What is under way."""
        rows = []
        for (name, alias), rollout in self._now().items():
            step = self._step(name, alias, rollout)
            row = RolloutRow(
                name, alias, rollout, rollout.share, round(step.age_s(), 1), step.said, step.evidence()
            )
            rows.append(row)
        return rows

    def past(self) -> list[PastRollout]:
        """How the last one of each alias ended, of those that this server has seen."""
        return [of for _, of in sorted(self._past.items())]

    def measures(self) -> list[RolloutMeasure]:
        """What was counted since the server was started, of all aliases that were rolled out."""
        now = self._now()
        return [
            RolloutMeasure(*at, now.get(at), self._evidence(at), dict(self._verdicts.get(at, {})))
            for at in sorted({*now, *self._counted})
        ]

    def _evidence(self, alias: tuple[str, str]) -> Evidence:
        steps = [step.evidence() for at, step in self._steps.items() if at[:2] == alias]
        return summed([self._counted.get(alias, Evidence()), *steps])

    def _now(self) -> dict[tuple[str, str], Rollout]:
        rollouts = self._served.catalog.rollouts()
        return {(name, alias): of for name, all_of in rollouts.items() for alias, of in all_of.items()}

    def _step(self, name: str, alias: str, rollout: Rollout) -> _Watched:
        return self._steps.setdefault((name, alias, rollout.serial), _Watched())

    async def _judge(self, name: str, alias: str, rollout: Rollout) -> None:
        step = self._step(name, alias, rollout)
        verdict: Verdict
        if reason := self._doomed.get((name, alias, rollout.serial), ""):
            verdict = RollBack(reason)
        else:
            verdict, step.looks = judge(rollout, step.evidence(), step.age_s(), step.looks)
        step.said = verdict.reason
        operation: Step | EndRollout
        match verdict:
            case Wait():
                return
            case Advance(reason):
                operation = Step(name, alias, rollout.serial, reason)
            case Promote(reason):
                operation = EndRollout(name, alias, True, rollout.serial, f"promoted: {reason}")
            case RollBack(reason):
                self._served.halt(name, alias, rollout.serial)
                operation = EndRollout(name, alias, False, rollout.serial, f"rolled back: {reason}")
            case _:
                assert_never(verdict)
        try:
            for note in await self._operate(operation):
                self._supervisor.note(note)
            decided = self._verdicts.setdefault((name, alias), Counter())
            decided[_VERDICTS[type(verdict)]] += 1
        except Refused as refused:
            # Somebody has ended it meanwhile, or too many wait: then it is judged again.
            self._supervisor.note(str(refused))

    # What is heard

    def _hear(self, process: int, all_seen: list[Seen]) -> None:
        """A process's numbers are since the step began: what it says last is all. A dead one's remain."""
        now = self._now()
        for seen in all_seen:
            rollout = now.get((seen.name, seen.alias))
            if rollout is not None and rollout.serial == seen.serial:
                self._step(seen.name, seen.alias, rollout).seen[process] = seen.evidence

    def _died(self, code: int) -> None:
        """It cannot be told which model took the process along; a candidate is the one not to be trusted."""
        crashed = -code in _CRASHES or code > 0
        for (name, alias), rollout in self._now().items():
            deaths = self._deaths[name, alias] = self._deaths.get((name, alias), 0) + 1
            how = f"signal {-code}" if code < 0 else f"exit status {code}"
            if crashed:
                self._doomed[name, alias, rollout.serial] = f"a process ended with {how} meanwhile"
            elif deaths >= _DEATHS_MAX:
                said = f"{deaths} processes were killed meanwhile, the last with {how}"
                self._doomed[name, alias, rollout.serial] = said

    def _failed(self, keys: Iterable[Key]) -> None:
        names = {(key.name, key.version) for key in keys}
        for (name, alias), rollout in self._now().items():
            if (name, rollout.candidate) in names:
                reason = f"version {rollout.candidate} did not load in a process that was started again"
                self._doomed[name, alias, rollout.serial] = reason

    def _ended(self, of: Ended) -> None:
        rollout = (of.name, of.alias)
        now, reason = time.time(), of.reason
        self._past[rollout] = PastRollout(*rollout, of.rollout.candidate, now, of.promoted, reason)
        self._counted[rollout] = self._evidence(rollout)
        self._deaths.pop(rollout, None)
        self._steps = {at: step for at, step in self._steps.items() if at[:2] != rollout}
        self._doomed = {at: why for at, why in self._doomed.items() if at[:2] != rollout}


class _Watched:
    """A step: since when, what each process has seen, and what was decided last."""

    def __init__(self) -> None:
        self.began = time.monotonic()
        self.seen: dict[int, Evidence] = {}
        self.looks: Looks = {}
        self.said = "nothing was seen yet"

    def age_s(self) -> float:
        return time.monotonic() - self.began

    def evidence(self) -> Evidence:
        return summed(list(self.seen.values()))
