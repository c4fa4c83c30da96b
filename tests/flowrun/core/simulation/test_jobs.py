"""Tables of jobs in, tables of what became of them out."""

import random

from graphs import host

from flowc.plan.model import Resources
from flowrun.core.pool import Pool
from flowrun.core.scheduler.lengths import Learned, Remaining
from flowrun.core.scheduler.preempting import ByRank
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.simulation.jobs import PATIENCE_MS, Job, Replay
from flowrun.core.simulation.outcome import outcome


def job(submit, lasts, cpus=1, known=True):
    return Job(submit, Resources(cpus=cpus), lasts, estimate_ms=lasts if known else 0, size=cpus)


def played(jobs, cpus=1, lengths=None, grace_ms=0, period_ms=1):
    preempting = ByRank() if lengths is not None else None
    scheduler = Scheduler(Pool((host(cpus, 1000),)), preempting=preempting, grace_ms=grace_ms)
    return Replay(jobs, scheduler, lengths, period_ms).run()


def test_in_order_of_submission_without_lengths():
    courses = played([job(0, 100), job(10, 5), job(20, 5)])
    assert [course.ended_ms for course in courses] == [100, 105, 110]


def test_the_shorter_one_takes_the_place_and_what_was_done_is_kept():
    courses = played([job(0, 100), job(10, 5), job(11, 100)], lengths=Remaining())
    assert [course.ended_ms for course in courses] == [105, 15, 205]
    assert [course.preempted for course in courses] == [1, 0, 0]


def test_what_is_almost_done_is_left_alone():
    courses = played([job(0, 100), job(96, 5)], lengths=Remaining())
    assert [course.ended_ms for course in courses] == [100, 105]


def test_in_its_grace_a_job_goes_on():
    courses = played([job(0, 100_000), job(10_000, 5000)], lengths=Remaining(), grace_ms=2000)
    assert [course.ended_ms for course in courses] == [105_000, 17_000]


def test_of_unknown_length_the_young_go_first():
    courses = played([job(0, 200_000, known=False), job(100_000, 1000, known=False)], lengths=Learned())
    assert [course.ended_ms for course in courses] == [201_000, 101_000]


def test_places_are_given_out_once_in_a_period():
    courses = played([job(1, 100), job(2, 5)], period_ms=60)
    assert [(course.first_ms, course.ended_ms) for course in courses] == [(60, 160), (180, 185)]


def test_what_waited_too_long_comes_before_all():
    hour = 3_600_000
    flood = [job(at * hour, hour) for at in range(24 * 10)]
    long = job(0, 100 * hour)
    jobs = sorted([long, *flood], key=lambda one: one.submit_ms)
    courses = played(jobs, lengths=Remaining())
    (at,) = [at for at, one in enumerate(jobs) if one is long]
    assert courses[at].promoted
    assert PATIENCE_MS < courses[at].ended_ms < 24 * 10 * hour + 100 * hour


def test_work_is_conserved_whatever_happens():
    draw = random.Random(7)
    jobs = [job(draw.randrange(10**6), draw.randrange(1, 10**5), draw.randrange(1, 5)) for _ in range(300)]
    jobs.sort(key=lambda one: one.submit_ms)
    for lengths, grace_ms in ((None, 0), (Remaining(), 0), (Remaining(), 3000), (Learned(), 0)):
        courses = played(jobs, 8, lengths, grace_ms)
        for one, course in zip(jobs, courses, strict=True):
            assert course.ended_ms - course.started_ms + course.done_ms == one.duration_ms
            assert course.started_ms >= course.first_ms >= one.submit_ms
        assert _most_at_once(jobs, courses) <= 8 or any(course.preempted for course in courses)


def test_the_outcome_by_hand():
    jobs = [job(0, 100_000), job(10_000, 50_000)]
    found = outcome(jobs, played(jobs), 1)
    assert (found.makespan_s, found.completion.average, found.completion.longest) == (150, 120, 140)
    assert (found.waiting.average, found.waiting.longest) == (45, 90)
    assert (found.utilisation, found.utilisation_of_all, found.starved) == (1, 1, 0)


def _most_at_once(jobs, courses):
    changes = sorted(
        change
        for one, course in zip(jobs, courses, strict=True)
        for change in ((course.started_ms, one.size), (course.ended_ms, -one.size))
    )
    most = held = 0
    for _, size in sorted(changes):
        held += size
        most = max(most, held)
    return most
