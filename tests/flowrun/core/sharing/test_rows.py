"""What `flowrun teams` and `flowrun queue` show, as values and as text."""

from flowrun.core.sharing.finish import FinishTimes
from flowrun.core.sharing.rows import queue_row, team_rows
from flowrun.core.sharing.shares import Shares
from flowrun.core.sharing.teams import Fairness, Sharing, Team, Tiers
from flowrun.shell.showing import team_views

TEAMS = {
    "research": Team(share=0.5, burst=1.5),
    "ads": Team(),
    "vis": Team(parent="research", weight=3),
    "asr": Team(parent="research"),
}


def shares():
    of = Shares(
        Sharing(teams=TEAMS, tiers=Tiers(headroom=0), fairness=Fairness(weight=1)),
        {"cpus": 64, "gpus": 8, "licences": 0},
    )
    of.start(of.index["asr"], 2, of.amounts(cpus=4, gpus=2))
    return of


def test_a_row_for_each_team_below_the_one_that_it_is_part_of():
    times = FinishTimes()
    times.add(3000, 2000)
    rows = {row.team: row for row in team_rows(shares(), {"vis": 3, "ads": 1}, {"asr": times})}
    assert [(name, row.depth) for name, row in rows.items()] == [
        ("research", 0),
        ("vis", 1),
        ("asr", 1),
        ("ads", 0),
    ]
    assert (rows["research"].running, rows["research"].waiting) == (1, 3)
    assert rows["asr"].used == {"cpus": 4, "gpus": 2, "licences": 0}
    assert rows["research"].limits == {"cpus": 48, "gpus": 6}
    assert (rows["asr"].share, rows["asr"].entitled, rows["asr"].load) == (0.25, 0.125, 2)
    assert (rows["asr"].finish_time_mean, rows["ads"].finish_time_mean) == (1.5, None)


def test_teams_as_text():
    times = FinishTimes()
    times.add(3, 2)
    text = team_views.teams(team_rows(shares(), {"vis": 3, "ads": 1}, {"asr": times}))
    assert text.splitlines()[:5] == [
        "team      running  waiting  cpus        gpus      share  entitled                    finish times",
        "research  1        3        4/32 <= 48  2/4 <= 6  25.0%  50.0%     below, and waits",
        "  vis     0        3        0/24        0/3       0.0%   37.5%     below, and waits",
        "  asr     1        0        4/8         2/1       25.0%  12.5%     above             1.50, worst 1.50",  # noqa: E501
        "ads       0        1        0/32        0/4       0.0%   50.0%     below, and waits",
    ]


def test_the_queue_as_text():
    of = shares()
    rows = [
        queue_row("fit", team, tier, 1000, waits, of.parts(of.index[team], tier, priority, 3_600_000), at)
        for team, tier, priority, waits, at in [
            ("asr", 2, 5, "2 gpus", 3_721_000),
            ("ads", 3, 0, "its turn", 0),
        ]
    ]
    assert team_views.queue(rows, 3_601_000).splitlines() == [
        "task  team  tier  since  starts in  effective  = priority  - tier  - team  + waiting  waits for",
        "fit   asr   2     1 h    ~2 min     6.46       5.00        -0.17   0.50    1.79       2 gpus",
        "fit   ads   3     1 h               3.79       0.00        -1.00   -1.00   1.79       its turn",
    ]


def test_an_empty_queue_says_so():
    assert team_views.queue([], 0) == "nothing waits"


def test_a_long_queue_ends_with_how_many_more_there_are():
    of = shares()
    row = queue_row("t", "ads", 3, 0, "its turn", of.parts(1, 3, 0, 0))
    assert team_views.queue([row] * 51, 0).splitlines()[-1] == "... and 1 task after these"


def test_durations_have_two_units_at_most():
    assert [team_views.duration(s * 1000) for s in (0, 59.6, 200, 18600, 187200)] == [
        "0 s",
        "1 min",
        "3 min 20 s",
        "5 h 10 min",
        "2 d 4 h",
    ]
