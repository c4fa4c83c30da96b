from graphs import Run, host, plan
from msgspec import structs

from flowc.plan.model import Estimate
from flowrun.core.changes import Reorder
from flowrun.core.foresight import foresee
from flowrun.core.scheduler.request import Lane
from flowrun.core.state import Shared


def known(text, **seconds):
    """A plan with estimates."""
    graph = plan(text)
    times = {site: Estimate(round(s * 1000), "history", 1) for site, s in seconds.items()}
    return structs.replace(
        graph, sites=tuple(structs.replace(s, estimate=times.get(s.site, s.estimate)) for s in graph.sites)
    )


# By bottom levels `wide` goes first, then `a` waits for it; better is `a` beside `b`, then `wide`.
FORK = "wide cpus=2\na cpus=1\nb cpus=1\nc cpus=1 < a"


class TestWhenItPays:
    def test_not_if_nothing_is_known(self):
        assert foresee(Run(FORK).state, 0) is None

    def test_not_if_anything_is_unknown(self):
        assert foresee(Run(known(FORK, wide=100, a=100, b=100)).state, 0) is None

    def test_not_for_a_run_that_is_over_before_it_is_planned(self):
        assert foresee(Run(known(FORK, wide=0.001, a=0.001, b=0.001, c=0.001)).state, 0) is None

    def test_not_if_something_can_never_start(self):
        text = FORK.replace("wide cpus=2", "wide cpus=200")
        assert Run(known(text, wide=100, a=100, b=100, c=100)).state.expected.order is None

    def test_not_for_a_run_among_others(self):
        run = Run(known(FORK, wide=60, a=50, b=100, c=50))
        assert foresee(run.state, 0) is not None
        run.state.shared = Shared(run.state.scheduler, "main-1", Lane(), (0, 0))
        assert foresee(run.state, 0) is None


class TestOrder:
    def test_of_the_schedule_counts_as_priority(self):
        run = Run(known("a\nb\nlong < a\nc < b\nd < b", a=10, b=20, long=100, c=20, d=20), host(cpus=1))
        foreseen = run.state.expected.order
        assert foreseen is not None
        by_start = sorted(foreseen.starts_ms, key=foreseen.starts_ms.__getitem__)
        order = []
        while run.state.status == "running":
            (node,) = run.state.running
            order.append(node)
            run.done(node)
        assert order == by_start

    def test_is_better_than_going_by_what_is_longest(self):
        run = Run(known(FORK, wide=60, a=50, b=100, c=50), host(cpus=2))
        assert run.opened == ["schedule 4 nodes in 160 s", "start a.1", "start b.1"]

    def test_is_made_anew_when_calls_take_longer_than_planned(self):
        graph = known("a[1]\na[2]\na[3]\nb\nc < b", a=10, b=20, c=20)
        run = Run(graph, host(cpus=1))
        run.now = 20_000
        run.done("b")
        first = run.state.expected.order
        run.now = 90_000
        said = run.done(next(iter(run.state.running)))
        assert said[0].startswith("schedule")
        assert run.state.expected.order is not first
        assert run.state.expected.drift_ms == 0

    def test_is_in_the_log(self):
        run = Run(known(FORK, wide=60, a=50, b=100, c=50), host(cpus=2))
        again = Run(known(FORK, wide=60, a=50, b=100, c=50), host(cpus=2))
        assert isinstance(run.state.expected.order, Reorder)
        assert run.state.expected.order == again.state.expected.order
