"""What people are told while the run log cannot be written."""

from __future__ import annotations

from collections.abc import Iterable

from flowc.plan.text import counted
from flowrun.core.changes import AnyChange, Exited, Finish

_AGAIN_MS = 30_000  # between reminders
_MOST_NAMED = 5


class Outage:
    """Whether the log can be written, and what was said about that."""

    def __init__(self) -> None:
        self.reason = ""
        self._since_ms = 0
        self._said_ms = 0

    def news(self, reason: str, now_ms: int) -> str:
        """What there is to say, given why the log cannot be written, if so; nothing if all is said."""
        if reason == self.reason == "":
            return ""
        began, ended = not self.reason and reason, self.reason and not reason
        lasted = f"{(now_ms - self._since_ms) / 1000:.0f} s"
        self.reason = reason
        if began:
            self._since_ms = self._said_ms = now_ms
            return (
                f"warning[FR310]: the run log cannot be written: {reason}; nothing starts until it can, "
                "what runs may come to its end"
            )
        if ended:
            return f"note: the run log can be written again, after {lasted}"
        if reason and now_ms - self._said_ms >= _AGAIN_MS:
            self._said_ms = now_ms
            return f"warning[FR310]: the run log cannot be written for {lasted}: {reason}"
        return ""


def lasting(reason: str, for_ms: float) -> str:
    """A line for as long as it lasts."""
    return f"the run log cannot be written for {for_ms / 1000:.0f} s: {reason}; nothing starts until it can"


def unwritten(changes: Iterable[tuple[str, AnyChange]]) -> tuple[str, ...]:
    """What is lost, and will be done again, if these changes of runs are never written."""
    results, ends = [], []
    for run, change in changes:
        if isinstance(change, Exited) and change.artifact is not None:
            results.append(f"`{run}/{change.node}`")
        elif isinstance(change, Finish):
            ends.append(f"`{run}`")
    lost = []
    if results:
        more = f" and {len(results) - _MOST_NAMED} more" if len(results) > _MOST_NAMED else ""
        named = ", ".join(results[:_MOST_NAMED])
        what = f"not written: {counted(len(results), 'result')}, of {named}{more}"
        lost.append(f"{what}; a resumed run makes them again")
    if ends:
        lost.append(f"not written: the end of {', '.join(ends)}")
    return tuple(lost) or ("no result is lost by that",)
