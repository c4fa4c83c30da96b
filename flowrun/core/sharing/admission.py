"""Back-pressure: how much may wait. More is refused at once, with the reason, and never lost in silence."""

from __future__ import annotations

from flowrun.core.model import Rejected
from flowrun.core.sharing.teams import Sharing


def admitted(
    sharing: Sharing, team: str, waiting_of_team: int, waiting: int, more: int = 1
) -> Rejected | None:
    """Why `more` tasks of a team may not be queued beside what waits already; `None` if they may."""
    own = sharing.teams[team].queue
    most = sharing.queue.of_team if own is None else own
    if waiting_of_team + more > most:
        return Rejected(f"queue of team `{team}`", waiting_of_team + more, most)
    if waiting + more > sharing.queue.limit:
        return Rejected("queue of all teams", waiting + more, sharing.queue.limit)
    return None
