"""A queue of jobs played through the scheduler, with a simulated clock.

Jobs come at their time, run as long as they run, and end; what is preempted keeps the work that it has done,
gives up its place when its grace is over, and waits again. The scheduler is the one of real runs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from typing import Literal

import msgspec

from flowc.plan.model import Resources
from flowrun.core.scheduler.lengths import Lengths
from flowrun.core.scheduler.preempting import ByRank
from flowrun.core.scheduler.request import Holding, Lane, Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler

PATIENCE_MS = 24 * 3_600_000
PATIENCE = 2.0


class Job(msgspec.Struct, frozen=True):
    """Work of a team. `estimate_ms` is how long the scheduler takes it to last, 0 if it does not know.

    `size` is what its length is weighed with.
    """

    submit_ms: int
    needs: Resources
    duration_ms: int
    lane: Lane = Lane()
    priority: float = 0
    estimate_ms: int = 0
    size: float = 1


class Course(msgspec.Struct):
    """What became of a job. `done_ms` is the work done before a place was last taken from it."""

    first_ms: int = -1  # when it first got a place
    started_ms: int = -1  # when it last did; -1 while it waits
    ended_ms: int = -1
    done_ms: int = 0
    preempted: int = 0
    promoted: bool = False  # waited so long that nothing goes before it any more
    spell: int = 0  # counts how often it began to wait or to run


What = Literal["end", "leave", "review", "promote"]


class Replay:
    """Jobs, in order of submission, on a scheduler of their own. `run` plays them to the end.

    With `lengths`, jobs are in order of their scores within their priority; if the scheduler preempts by
    rank, also against what runs. Then what has waited for `PATIENCE` times its own length, and for
    `PATIENCE_MS` at least, comes before all and is not preempted: nothing starves.
    `period_ms`: places are given out at multiples of it only. `watch(now_ms)` is called after each round.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        scheduler: Scheduler,
        lengths: Lengths | None = None,
        period_ms: int = 1,
        watch: Callable[[int], None] | None = None,
    ) -> None:
        self.jobs = jobs
        self.courses = [Course() for _ in jobs]
        self.scheduler = scheduler
        self._lengths = lengths
        self._period_ms = period_ms
        self._watch = watch
        self._refs = [Ref("", str(i)) for i in range(len(jobs))]
        if isinstance(scheduler.preempting, ByRank):
            scheduler.preempting.rank = self._rank_now
        self._arrived = 0
        self._events: list[tuple[int, int, What, int]] = []  # when, which job, what, of which spell
        self._scores: dict[int, float] = {}  # of what runs

    def run(self) -> list[Course]:
        """What became of each job."""
        jobs, events, period = self.jobs, self._events, self._period_ms
        while self._arrived < len(jobs) or events:
            next_ms = jobs[self._arrived].submit_ms if self._arrived < len(jobs) else events[0][0]
            if events and events[0][0] < next_ms:
                next_ms = events[0][0]
            now_ms = -(-next_ms // period) * period
            while events and events[0][0] <= now_ms:
                self._happens(*heappop(events))
            while self._arrived < len(jobs) and jobs[self._arrived].submit_ms <= now_ms:
                self._submit(self._arrived, jobs[self._arrived].submit_ms)
                self._arrived += 1
            self._round(now_ms)
            if self._watch is not None:
                self._watch(now_ms)
        assert not self.scheduler.queue, "what can never start was not refused"
        return self.courses

    def _rank_now(self, holding: Holding, now_ms: int) -> tuple[float, ...]:
        at = int(holding.request.ref.node)
        return self._rank(at, self._score_now(at, now_ms))

    def _rank(self, at: int, score: float) -> tuple[float, ...]:
        return (-self.jobs[at].priority, score, at)

    def _score_now(self, at: int, now_ms: int) -> float:
        if self._lengths is None:
            return 0
        course = self.courses[at]
        if course.promoted:
            return -1
        known = self._scores.get(at)
        if known is not None:
            return known
        job = self.jobs[at]
        done_ms = course.done_ms + (now_ms - course.started_ms if course.started_ms >= 0 else 0)
        left_ms = max(job.estimate_ms - done_ms, 1) if job.estimate_ms else 0
        return self._lengths.score(job.size, done_ms, left_ms)

    def _submit(self, at: int, now_ms: int) -> None:
        job, course = self.jobs[at], self.courses[at]
        left_ms = max(job.estimate_ms - course.done_ms, 1) if job.estimate_ms else 0
        rank = self._rank(at, self._score_now(at, now_ms))
        self.scheduler.submit(
            Request(self._refs[at], job.needs, rank, left_ms, now_ms, job.lane, course.preempted)
        )
        course.spell += 1
        if self._lengths is not None and not course.promoted:
            patience_ms = max(PATIENCE_MS, PATIENCE * (job.estimate_ms or course.done_ms))
            heappush(self._events, (now_ms + int(patience_ms), at, "promote", course.spell))

    def _round(self, now_ms: int) -> None:
        scheduler = self.scheduler
        while True:
            for request, placement in scheduler.dispatch(now_ms):
                scheduler.started(request.ref, placement, now_ms)
                self._start(int(request.ref.node), now_ms)
            taken = scheduler.preemptions(now_ms)
            for victim, _ in taken:
                self._preempt(int(victim.node), now_ms)
            if not taken or scheduler.grace_ms:
                return

    def _start(self, at: int, now_ms: int) -> None:
        job, course = self.jobs[at], self.courses[at]
        course.started_ms = now_ms
        if course.first_ms < 0:
            course.first_ms = now_ms
        course.spell += 1
        heappush(self._events, (now_ms + job.duration_ms - course.done_ms, at, "end", course.spell))
        self._review(at, now_ms)

    def _review(self, at: int, now_ms: int) -> None:
        """Keep the score of what runs until it gets worse."""
        if self._lengths is None:
            return
        job, course = self.jobs[at], self.courses[at]
        done_ms = course.done_ms + now_ms - course.started_ms
        due_ms = self._lengths.review_ms(done_ms)
        if due_ms:
            self._scores.pop(at, None)
            self._scores[at] = self._score_now(at, now_ms)
            if due_ms < job.duration_ms:
                heappush(self._events, (now_ms + due_ms - done_ms, at, "review", course.spell))

    def _preempt(self, at: int, now_ms: int) -> None:
        course = self.courses[at]
        grace_ms = self.scheduler.grace_ms
        if grace_ms:
            self.scheduler.expect(self._refs[at], now_ms + grace_ms)
            heappush(self._events, (now_ms + grace_ms, at, "leave", course.spell))
        else:
            self._happens(now_ms, at, "leave", course.spell)

    def _happens(self, now_ms: int, at: int, what: What, spell: int) -> None:
        course = self.courses[at]
        if course.spell != spell:
            return  # the job has been preempted, or has started, since that was planned
        match what:
            case "review":
                self._review(at, now_ms)
            case "promote":
                course.promoted = True
                self.scheduler.withdraw(self._refs[at])
                self._submit(at, now_ms)
            case "end":
                course.ended_ms = now_ms
                course.spell += 1
                self._scores.pop(at, None)
                self.scheduler.ended(self._refs[at])
                if self._lengths is not None:
                    self._lengths.ended(self.jobs[at].duration_ms)
            case "leave":
                course.done_ms += now_ms - course.started_ms
                course.started_ms = -1
                course.preempted += 1
                self._scores.pop(at, None)
                self.scheduler.ended(self._refs[at])
                self._submit(at, now_ms)
