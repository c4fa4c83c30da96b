"""Back-pressure: what is refused, and why."""

from flowrun.core.model import Rejected
from flowrun.core.sharing.admission import admitted
from flowrun.core.sharing.teams import Queue, Sharing, Team

SHARING = Sharing(teams={"a": Team(queue=2), "b": Team()}, queue=Queue(limit=10, of_team=5))


def test_a_team_may_queue_up_to_its_own_limit():
    assert admitted(SHARING, "a", 1, 1) is None
    assert admitted(SHARING, "a", 2, 2) == Rejected("queue of team `a`", 3, 2)
    assert admitted(SHARING, "b", 4, 4) is None
    assert admitted(SHARING, "b", 5, 5) == Rejected("queue of team `b`", 6, 5)


def test_all_teams_together_may_queue_up_to_the_limit():
    assert admitted(SHARING, "b", 0, 9) is None
    rejected = admitted(SHARING, "b", 0, 10)
    assert str(rejected) == "queue of all teams: needs 11, has 10"


def test_a_run_is_admitted_whole_or_not_at_all():
    assert admitted(SHARING, "b", 0, 0, more=5) is None
    assert admitted(SHARING, "b", 0, 0, more=1_000_000_000) == Rejected("queue of team `b`", 1_000_000_000, 5)
