"""What becomes of a run of the daemon: on its output, and in the measure of how fair it is."""

from __future__ import annotations

from collections.abc import Sequence

from flowrun.core.changes import AnyChange, Exited, Finish, Kill, Start, Submission
from flowrun.core.sharing.finish import FinishTimes, alone_ms
from flowrun.core.sharing.shares import Shares
from flowrun.core.state import State
from flowrun.shell.saying import say


class Teller:
    """Tells on the daemon's output what becomes of a run, and measures how fair it was."""

    def __init__(self, run: str, of: Submission, shares: Shares, finished: FinishTimes) -> None:
        self._run = run
        self._entitled = float(shares.dominant(shares.entitled[shares.index[of.team]].amounts))
        self._shares = shares
        self._finished = finished
        self._since: dict[str, int] = {}  # when nodes first began to wait

    def see(self, state: State, changes: Sequence[AnyChange]) -> None:
        """Called after each step."""
        for change in changes:
            match change:
                case Start():
                    self._since.setdefault(change.node, state.by_id[change.node].ready_at_ms)
                case Exited() if change.artifact is not None:
                    self._ended(state, change)
                case Kill(reason="preempted", force=False):
                    whom = f"`{change.by}`" if change.by else "the daemon's end"
                    say([f"{self._run}/{change.node}: preempted for {whom}"])
                case Finish():
                    took = (change.at_ms - state.opened_ms) / 1000
                    say([f"{self._run}: {change.status} in {took:.2f} s"])
                case _:
                    pass

    def tick(self, state: State) -> None:
        """Nothing happened: nothing is told."""

    def suffer(self, outage: str) -> None:
        """The daemon says it once, for all runs."""

    def _ended(self, state: State, exited: Exited) -> None:
        task = state.by_id[exited.node]
        since_ms = self._since.pop(exited.node, task.started_ms)
        needs = task.needs
        used = {"cpus": needs.cpus, "memory_mb": needs.memory_mb, "gpus": needs.gpus, **dict(needs.uses)}
        share = self._shares.dominant([used.get(name, 0) for name in self._shares.resources])
        alone = alone_ms(exited.at_ms - task.started_ms, float(share), max(self._entitled, 1e-6))
        self._finished.add(exited.at_ms - since_ms, alone)
