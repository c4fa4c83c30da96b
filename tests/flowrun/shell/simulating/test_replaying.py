import pytest

from flowc.plan.diagnostics import Refused
from flowrun.shell.simulating import replaying

HEADER = "submit,team,priority,resources,duration"
HOST = "8xH100-80GB, 64 cores, 1 TiB"


def trace(tmp_path, *lines, header=HEADER):
    path = tmp_path / "jobs.csv"
    path.write_text("\n".join([header, *lines]) + "\n")
    return path


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("0,a,0,gpus=1", "FR136"),
        ("0,a,0,gpus=1,1h,more", "FR136"),
        ("-5,a,0,gpus=1,1h", "FR137"),
        ("0,a,0,gpus=1,0", "FR137"),
        ("0,a,inf,gpus=1,1h", "FR137"),
        ("0,a,0,gpus=1.5,1h", "FR137"),
        ("0,a,0,gpus=nan,1h", "FR137"),
        ("0,a,0,,1h", "FR137"),
        ("0,a,0,gpus=1 gpus=2,1h", "FR137"),
        ("0,a,0,gpus=9,1h", "FR139"),
        ("0,a,0,licence=1,1h", "FR139"),
    ],
)
def test_what_makes_no_sense_is_refused(tmp_path, line, code):
    with pytest.raises(Refused) as refused:
        replaying.run(trace(tmp_path, line), HOST, None)
    assert [one.code for one in refused.value.diagnostics] == [code]


def test_one_team_is_served_by_length(tmp_path):
    path = trace(tmp_path, "0,a,0,gpus=8,1h,1h", "60,a,0,gpus=8,1m,1m", header=HEADER + ",estimate")
    found = replaying.run(path, HOST, None).outcome
    assert (found.preemptions, found.completion.average) == (1, (3660 + 60) / 2)


def test_teams_are_told_what_they_used(tmp_path):
    path = trace(tmp_path, "0,a,0,gpus=4,1h", "0,b,0,gpus=3,1h")
    one, other = replaying.run(path, HOST, None).teams
    assert (one.team, one.jobs, one.entitled, one.used, one.rho) == ("a", 1, 0.5, 0.5, 1)
    assert (other.used, other.rho) == (0.375, 1)


def test_a_gang_is_divided_among_hosts(tmp_path):
    path = trace(tmp_path, "0,a,0,gpus=12 cpus=12,1h")
    assert replaying.run(path, f"2 hosts: {HOST}", None).outcome.waiting.longest == 0
