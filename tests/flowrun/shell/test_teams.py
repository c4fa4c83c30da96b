"""Reading `teams.toml`: what is right is read, and everything that is wrong is shown where it stands."""

import pytest

from flowc.plan.diagnostics import Refused
from flowrun.core.model import Capacity, Gpu
from flowrun.core.sharing.teams import Fairness, Queue, Sharing, Team, Tiers, tier_of
from flowrun.shell.teams import parse, read

HOST = {"cpus": 64, "memory_mb": 1000, "gpus": 8}


def refusals(text):
    """(code, line, message) of each diagnostic."""
    with pytest.raises(Refused) as refused:
        parse(text, "teams.toml", HOST)
    return [(d.code, d.labels[0].place.line, d.message) for d in refused.value.diagnostics]


def test_all_of_it():
    text = """
        [teams.research]
        quota = { gpus = 6 }
        [teams.vision]
        parent = "research"
        weight = 2
        burst = 1.5
        tier = 1
        queue = 10
        [teams."night shift"]
        limit.gpus = 2
        [tiers]
        weights = [60, 40]
        headroom = 0
        [fairness]
        weight = 2
        violation = "absolute"
        starvation_s = 60
        [queue]
        limit = 100
    """
    found = parse(text, "teams.toml", HOST)
    assert found == Sharing(
        {
            "research": Team(quota={"gpus": 6}),
            "vision": Team(parent="research", weight=2, burst=1.5, tier=1, queue=10),
            "night shift": Team(limit={"gpus": 2}),
        },
        Tiers((60, 40), 0),
        Fairness(2, "absolute", 60),
        queue=Queue(limit=100),
    )


def test_nothing_configured_is_one_team_that_has_everything():
    assert parse("", "teams.toml", HOST) == Sharing()


def test_work_that_names_no_tier_has_the_teams_or_the_third():
    few = parse("[teams.a]\ntier = 1\n[teams.b]\n[tiers]\nweights = [2, 1]", "teams.toml", HOST)
    assert [tier_of(few, name) for name in "ab"] == [1, 2]
    assert tier_of(Sharing(), "default") == 3


def test_names_do_not_steer_a_terminal():
    assert refusals('[teams.a]\n"\\u001b[31m" = 1\n')[0][2] == "team `a` has no key `\\x1b[31m`"


def test_every_mistake_is_found_at_once():
    text = (
        "[teams.a]\nwieght = 1\nburst = 0\n[teams.b]\nparent = 'c'\ntier = 2.5\n[queue]\nlimit = 0\n[tires]\n"
    )
    assert refusals(text) == [
        ("FR121", 2, "team `a` has no key `wieght`"),
        ("FR121", 6, "`tier` of team `b` has a value of the wrong type: expected `int`, got `float`"),
        ("FR121", 9, "the configuration has no key `tires`"),
        ("FR122", 8, "`limit` in `[queue]` is 0; it must be at least 1"),
        ("FR122", 3, "`burst` of team `a` is 0; it must be at least 1"),
        ("FR124", 5, "team `b` is part of `c`, which is no team"),
    ]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-0.5", "1.5"])
def test_no_share_is_outside_of_0_to_1(value):
    (found,) = refusals(f"[teams.a]\nshare = {value}\n")
    assert found[:2] == ("FR122", 2)


@pytest.mark.parametrize("value", ["nan", "inf", "-1"])
def test_no_amount_is_negative_or_no_number(value):
    (found,) = refusals(f"[teams.a.quota]\ncpus = 4\ngpus = {value}\n")
    assert found[:2] == ("FR122", 3)


@pytest.mark.parametrize(
    "text",
    [
        "[tiers]\nweights = []",
        "[tiers]\nweights = [1, 0]",
        "[tiers]\nheadroom = 1",
        "[fairness]\nstarvation_s = 0",
        "[fairness]\nweight = nan",
        "[preemption]\ntimes = -1",
        "[preemption]\nrun_at_least_s = nan",
        "[teams.a]\nweight = 0",
        "[teams.a]\ntier = 0",
        "[teams.' ']\n",
        "[teams.a]\nquota = { gpus = 4 }\nlimit = { gpus = 2 }",
    ],
)
def test_values_that_make_no_sense(text):
    assert {code for code, _, _ in refusals(text)} >= {"FR122"}


def test_a_file_without_teams_table_is_about_the_one_team():
    assert [code for code, _, _ in refusals("teams = 3")] == ["FR121"]
    assert [code for code, _, _ in refusals("[teams]")] == ["FR122"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[teams.a]\nparent = 'a'\n", "team `a` is part of itself"),
        (
            "[teams.a]\nparent = 'b'\n[teams.b]\nparent = 'c'\n[teams.c]\nparent = 'a'\n",
            "team `a` is part of itself: `a` -> `b` -> `c` -> `a`",
        ),
    ],
)
def test_circles_are_told_once(text, message):
    assert refusals(text) == [("FR124", 2, message)]


def test_a_team_outside_of_a_circle_is_not_blamed_for_it():
    text = "[teams.x]\nparent = 'a'\n[teams.a]\nparent = 'a'\n"
    assert refusals(text) == [("FR124", 4, "team `a` is part of itself")]


def test_shares_above_the_whole():
    assert refusals("[teams.a]\nshare = 0.7\n[teams.b]\nshare = 0.4\n") == [
        ("FR125", 4, "`a`, `b` are guaranteed 70.4 `cpus` together, and the host has 64")
    ]


def test_very_many_teams_are_not_all_named():
    ((_, _, message),) = refusals("".join(f"[teams.t{i}]\nshare = 0.5\n" for i in range(1000)))
    assert message.startswith(
        "`t0`, `t1`, `t2`, `t3`, `t4` and 995 more are guaranteed 32000 `cpus` together"
    )


def test_a_quota_above_what_the_parent_has():
    text = "[teams.r]\nquota = { gpus = 4 }\n[teams.a]\nparent = 'r'\nquota = { gpus = 5 }\n"
    assert refusals(text) == [("FR125", 5, "`a` is guaranteed 5 `gpus`, and `r` has 4")]


def test_a_quota_above_what_weights_give_the_parent():
    text = "[teams.a]\nparent = 'r'\nquota = { gpus = 5 }\n[teams.r]\n[teams.s]\n"
    assert refusals(text) == [("FR125", 3, "`a` is guaranteed 5 `gpus`, and `r` has 4")]


def test_a_quota_and_a_share_above_the_whole_together():
    text = "[teams.a]\nquota = { gpus = 5 }\n[teams.b]\nshare = 0.5\n"
    assert refusals(text) == [("FR125", 4, "`a`, `b` are guaranteed 9 `gpus` together, and the host has 8")]


def test_parts_that_are_exactly_the_whole_are_fine():
    text = "".join(f"[teams.t{i}]\nshare = 0.1\n" for i in range(10))
    assert len(parse(text, "teams.toml", HOST).teams) == 10


def test_a_resource_that_is_not_there():
    text = "[teams.a]\nlimit = { licences = 2 }\n"
    assert refusals(text) == [
        ("FR126", 2, "team `a` has a limit of `licences`, which this host does not have")
    ]


def test_a_team_declared_twice():
    assert refusals("[teams.a]\n\n[teams.a]\n") == [("FR123", 3, "team `a` is declared twice")]


def test_a_broken_file_says_where():
    assert refusals("[teams.a]\nweight = \n")[0][:2] == ("FR120", 2)


def test_a_file_that_is_not_there_or_no_text(tmp_path):
    host = Capacity(4, 1000, (Gpu(0),))
    with pytest.raises(Refused, match="FR120"):
        read(tmp_path / "teams.toml", host)
    (tmp_path / "teams.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(Refused, match="FR120"):
        read(tmp_path / "teams.toml", host)
    (tmp_path / "teams.toml").write_text("[teams.a]\nquota = { gpus = 1 }\n")
    assert read(tmp_path / "teams.toml", host).teams["a"].quota == {"gpus": 1}


def test_hostile_files_are_refused_like_others():
    deep = "".join(f"[teams.t{i}]\nparent = 't{i + 1}'\n" for i in range(3000)) + "[teams.t3000]\n"
    assert refusals(deep) == [("FR122", 2, "team `t0` is nested deeper than 16 levels")]
    assert refusals(f"[teams.a]\nweight = {'9' * 400}")[0][0] == "FR121"
    assert refusals(f"[teams.a]\nqueue = {'9' * 400}") == [
        ("FR122", 2, "`queue` of team `a` is above 1e+15; it must be at least 0 and at most 1e+15")
    ]
    assert refusals("[[teams]]\nname = 'a'")[0][0] == "FR121"
    assert refusals("fairness = 3")[0][0] == "FR121"
