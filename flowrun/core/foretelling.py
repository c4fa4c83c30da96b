"""What a run is going to take from earlier ones, before any of it runs."""

from __future__ import annotations

from collections.abc import Callable

from flowrun.core.changes import Command, Opened, Resolve, Resolved, Verified, Verify
from flowrun.core.decide import follow, react
from flowrun.core.state import State


def foretell(state: State, opened: Opened, answer: Callable[[Resolve | Verify], Resolved | Verified]) -> None:
    """Bring a run as far as it comes without a process, which is what its cache has: the state tells.

    What is pending or ready then is going to run; what comes of that may still be taken from the cache, if it
    comes out the same as before. `answer` says what there is to know of values that are there.
    """
    asked: list[Command] = []
    state.apply(opened)
    follow(state, asked, opened.at_ms)
    while asked:
        command = asked.pop()
        if isinstance(command, (Resolve, Verify)):
            asked += react(state, answer(command))
