"""What a replay of jobs came to, in the measures of the field."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from flowrun.core.simulation.jobs import Course, Job

HOUR_MS = 3_600_000
STARVED = 10  # times their length, and a day
DAY_MS = 24 * HOUR_MS


class Spread(msgspec.Struct, frozen=True):
    """Average, median, 99th percentile and greatest of some times, in seconds."""

    average: float = 0
    median: float = 0
    p99: float = 0
    longest: float = 0


class Outcome(msgspec.Struct, frozen=True):
    """The whole of a replay. Times are in seconds, from submission.

    `waiting` is completion less the job's own length; `slowdown` is the mean of completion over length (of
    a second at least). `utilisation` is of the devices until the last submission, and `of_all` until all is
    done. `long_waits` waited more than ten times their length and an hour; `starved` did so and for a day.
    """

    jobs: int
    makespan_s: float
    completion: Spread
    waiting: Spread
    slowdown: float
    utilisation: float
    utilisation_of_all: float
    preemptions: int
    preempted_jobs: int
    long_waits: int
    starved: int


def outcome(jobs: Sequence[Job], courses: Sequence[Course], devices: float) -> Outcome:
    """Of jobs that have ended; `devices` is how many there are, as jobs' sizes count them."""
    assert jobs, "a replay of nothing came to nothing"
    begin, last = jobs[0].submit_ms, jobs[-1].submit_ms
    end = max(course.ended_ms for course in courses)
    completions = [course.ended_ms - job.submit_ms for job, course in zip(jobs, courses, strict=True)]
    waits = [taken - job.duration_ms for job, taken in zip(jobs, completions, strict=True)]
    slow = [taken / max(job.duration_ms, 1000) for job, taken in zip(jobs, completions, strict=True)]
    long = [
        wait
        for job, wait in zip(jobs, waits, strict=True)
        if wait > STARVED * job.duration_ms and wait > HOUR_MS
    ]
    work = sum(job.size * job.duration_ms for job in jobs)
    # Of work on a host of its own it would be all: what ran after the last submission is not known apart.
    until_last = sum(
        job.size * _overlap(job, course, last) for job, course in zip(jobs, courses, strict=True)
    )
    return Outcome(
        jobs=len(jobs),
        makespan_s=(end - begin) / 1000,
        completion=spread(completions),
        waiting=spread(waits),
        slowdown=round(sum(slow) / len(slow), 2),
        utilisation=round(until_last / (devices * max(last - begin, 1)), 4),
        utilisation_of_all=round(work / (devices * max(end - begin, 1)), 4),
        preemptions=sum(course.preempted for course in courses),
        preempted_jobs=sum(course.preempted > 0 for course in courses),
        long_waits=len(long),
        starved=sum(wait > DAY_MS for wait in long),
    )


def spread(times_ms: Sequence[float]) -> Spread:
    """Of times in milliseconds, in seconds."""
    if not times_ms:
        return Spread()
    ordered = sorted(times_ms)
    count = len(ordered)
    average = sum(ordered) / count
    figures = (average, ordered[count // 2], ordered[int(count * 0.99)], ordered[-1])
    return Spread(*(round(figure / 1000, 1) for figure in figures))


def _overlap(job: Job, course: Course, until_ms: int) -> int:
    """Milliseconds of a job's work that were done until a moment; of one preempted after it, too much."""
    if course.ended_ms <= until_ms:
        return job.duration_ms
    left_ms = job.duration_ms - course.done_ms  # done since it last got its place
    return course.done_ms + max(0, min(left_ms, until_ms - course.started_ms))
