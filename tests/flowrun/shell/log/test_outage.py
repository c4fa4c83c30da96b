"""What people are told while the run log cannot be written: once, now and then, and when it is over."""

from flowrun.core.changes import Exited, Finish, Woke
from flowrun.core.model import Artifact, Failure
from flowrun.shell.log.outage import Outage, unwritten

DONE = Artifact("a" * 64, 3)


def test_its_beginning_is_told_once_then_now_and_then_and_its_end():
    outage, told = Outage(), {}
    for second in range(100):
        reason = "database is locked" if 10 <= second < 75 else ""
        if news := outage.news(reason, 1000 * second):
            told[second] = news
        assert outage.reason == reason
    assert told == {
        10: "warning[FR310]: the run log cannot be written: database is locked; nothing starts until it can, "
        "what runs may come to its end",
        40: "warning[FR310]: the run log cannot be written for 30 s: database is locked",
        70: "warning[FR310]: the run log cannot be written for 60 s: database is locked",
        75: "note: the run log can be written again, after 65 s",
    }


def test_another_reason_is_told_with_the_next_reminder():
    outage = Outage()
    outage.news("database is locked", 0)
    assert outage.news("database or disk is full", 1000) == ""
    assert "disk is full" in outage.news("database or disk is full", 30_000)


def test_what_is_not_written():
    results = [("main-1", Exited(1, f"n{i}", 1, DONE)) for i in range(7)]
    failed = ("main-1", Exited(1, "b", 1, failure=Failure("FR201", "no")))
    assert unwritten([*results, failed, ("main-1", Finish(2, "failed")), ("main-2", Woke(3))]) == (
        "not written: 7 results, of `main-1/n0`, `main-1/n1`, `main-1/n2`, `main-1/n3`, `main-1/n4` "
        "and 2 more; a resumed run makes them again",
        "not written: the end of `main-1`",
    )
    assert unwritten([failed]) == ("no result is lost by that",)
