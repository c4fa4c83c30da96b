"""Whose a run is, how important, and whether there is room for it."""

import pytest
from graphs import host, plan

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Submission
from flowrun.core.scheduler.order import Fair
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Queue, Sharing, Team
from flowrun.service.admission import demand_allowed, demand_room, submission
from flowrun.shell.teams import amounts

TWO = Sharing(teams={"vision": Team(tier=2), "speech": Team()})


def code(refused):
    (diagnostic,) = refused.value.diagnostics
    return diagnostic.code, diagnostic.hint


class TestWhose:
    def test_in_the_tier_of_the_team(self):
        assert submission(TWO, "vision", 0, 0) == Submission("vision", 2, 0)
        assert submission(TWO, "speech", 0, 5) == Submission("speech", 3, 5)

    def test_in_another_tier(self):
        assert submission(TWO, "vision", 4, -3) == Submission("vision", 4, -3)

    def test_without_a_team_there_is_one_at_most(self):
        assert submission(Sharing(), "", 0, 0).team == "default"
        assert submission(Sharing(teams={"vision": Team()}), "", 0, 0).team == "vision"
        with pytest.raises(Refused) as refused:
            submission(TWO, "", 0, 0)
        assert code(refused) == ("FR142", "add `--team`: `vision`, `speech`")

    def test_a_team_with_parts_has_no_work_of_its_own(self):
        sharing = Sharing(teams={"ml": Team(), "vision": Team(parent="ml"), "speech": Team(parent="ml")})
        assert submission(sharing, "vision", 0, 0).team == "vision"
        with pytest.raises(Refused) as refused:
            submission(sharing, "ml", 0, 0)
        assert code(refused) == ("FR142", "submit for one of them: `vision`, `speech`")

    @pytest.mark.parametrize(
        ("team", "tier", "priority", "why"),
        [
            ("visoin", 0, 0, ("FR142", "did you mean `vision`?")),
            ("x", 0, 0, ("FR142", "there is `vision`, `speech`")),
            ("vision", 5, 0, ("FR144", "tiers are 1 to 4; 1 is the most important")),
            ("vision", -1, 0, ("FR144", "tiers are 1 to 4; 1 is the most important")),
            ("vision", 0, 1001, ("FR144", "priorities are -1000 to 1000")),
        ],
    )
    def test_nonsense(self, team, tier, priority, why):
        with pytest.raises(Refused) as refused:
            submission(TWO, team, tier, priority)
        assert code(refused) == why


class TestLimits:
    def order(self, **team):
        capacity = host(cpus=20)
        return Fair(Shares(Sharing(teams={"vision": Team(**team)}), amounts(capacity)), 0)

    def test_of_the_team(self):
        graph = plan("small cpus=2\nlarge cpus=3\nlarger cpus=4")
        with pytest.raises(Refused) as refused:
            demand_allowed(graph, Submission("vision", 1), self.order(limit={"cpus": 2}))
        assert [found.message.split("`")[1] for found in refused.value.diagnostics] == ["large", "larger"]
        assert {found.code for found in refused.value.diagnostics} == {"FR149"}

    def test_what_is_kept_for_the_first_tier(self):
        graph = plan("all cpus=20")
        demand_allowed(graph, Submission("vision", 1), self.order())
        with pytest.raises(Refused):
            demand_allowed(graph, Submission("vision", 2), self.order())


class TestRoom:
    LIMITED = Sharing(teams={"vision": Team(queue=10), "speech": Team()}, queue=Queue(limit=100))

    def test_up_to_the_limit(self):
        demand_room(self.LIMITED, "vision", 4, 94, 6)

    @pytest.mark.parametrize(
        ("team", "of_team", "of_all", "said"),
        [
            ("vision", 5, 5, "the queue of team `vision` has room for 10 nodes: 5 nodes wait"),
            ("vision", 1, 95, "the queue of all teams has room for 100 nodes: 95 nodes wait"),
            ("speech", 1, 95, "the queue of all teams has room for 100 nodes: 95 nodes wait"),
        ],
    )
    def test_beyond(self, team, of_team, of_all, said):
        with pytest.raises(Refused) as refused:
            demand_room(self.LIMITED, team, of_team, of_all, 6)
        assert code(refused)[0] == "FR143"
        assert refused.value.diagnostics[0].message.startswith(said)
