"""Random jobs of exactly known lengths: who was promised a place gets it by then, whatever passes."""

import random

import pytest
from graphs import host

from flowc.plan.model import Resources
from flowrun.core.pool import Pool
from flowrun.core.scheduler.request import Ref, Request
from flowrun.core.scheduler.scheduler import Scheduler

HOSTS = {
    "one host": [host(8, 1000)],
    "two hosts": [host(8, 1000)] * 2,
    "with GPUs": [host(8, 1000, [8000] * 4)],
    "three hosts": [host(8, 1000, [8000] * 2)] * 3,
}


@pytest.mark.parametrize("hosts", HOSTS)
@pytest.mark.parametrize("seed", range(12))
def test_nothing_that_passes_delays_the_first(hosts, seed):
    draw = random.Random(seed)
    scheduler = Scheduler(Pool(HOSTS[hosts]))
    jobs = [(draw.randrange(0, 3000), draw.randrange(1, 800), _needs(draw, HOSTS[hosts])) for _ in range(60)]
    jobs.sort(key=lambda job: job[0])
    events = sorted({submit for submit, _, _ in jobs})
    ends: dict[str, int] = {}
    promised: dict[str, int] = {}
    started = passed = 0
    arrived = 0
    while events or ends:
        now = min([*events[:1], *ends.values()])
        events = [at for at in events if at > now]
        for node in sorted(node for node, at in ends.items() if at <= now):
            del ends[node]
            scheduler.ended(Ref("", node))
        while arrived < len(jobs) and jobs[arrived][0] <= now:
            _, lasts, needs = jobs[arrived]
            scheduler.submit(Request(Ref("", str(arrived)), needs, (arrived,), lasts, now))
            arrived += 1
        for request, placement in scheduler.dispatch(now):
            node = request.ref.node
            scheduler.started(request.ref, placement, now)
            ends[node] = now + request.estimate_ms
            started += 1
            passed += scheduler.refused is not None
            if node in promised:
                assert now <= promised[node], f"{node} was promised {promised[node]}"
        if scheduler.promised is not None:
            promise = scheduler.promised
            promised.setdefault(promise.request.ref.node, promise.at_ms)
    assert started == len(jobs)
    assert not scheduler.queue
    assert passed, "nothing was backfilled: the jobs are no test"


def _needs(draw, hosts):
    gpus = draw.choice([0, 0, 1, 2]) if hosts[0].gpus else 0
    return Resources(cpus=draw.choice([1, 1, 2, 3, 6]), memory_mb=draw.choice([0, 100, 500]), gpus=gpus)
