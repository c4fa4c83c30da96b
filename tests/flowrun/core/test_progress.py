"""How far a run is: the counters against what a look at every node says."""

import random

import pytest
from graphs import host, plan

from flowrun.core.changes import Exited, Opened, Resolved
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure
from flowrun.core.progress import Progress
from flowrun.core.state import State

GRAPH = "\n".join(
    [
        "load estimate=100",
        "m control=map < load",
        *(f"clean[{i}] < load estimate=200 retries=1 backoff=0" for i in range(20)),
        *(f"train[{i}] < clean[{i}] estimate=400" for i in range(20)),
        "big control=branch < load",
        "report when=big < m",
    ]
)


def begin(graph=GRAPH, cpus=4):
    state = State(plan(graph), {})
    changes = [(opened := Opened(0, "p", {}, host(cpus=cpus))), *decide(state, opened)]
    progress = Progress(state)
    progress.see(state, changes)
    return state, progress


def step(state, progress, event):
    changes = [event, *decide(state, event)]
    progress.see(state, changes)
    return changes


def by_hand(state):
    """Of each site with processes: how many nodes, how many ended, by state."""
    found = {}
    for task in state.tasks:
        if task.site.control == "none":
            of = found.setdefault(task.site.site, [0, {}])
            of[0] += 1
            if task.state not in ("pending", "ready", "running"):
                of[1][task.state] = of[1].get(task.state, 0) + 1
    return found


@pytest.mark.parametrize("seed", range(20))
def test_the_counters_say_what_every_node_says(seed):
    chance = random.Random(seed)
    state, progress = begin()
    now = 0
    while state.status == "running":
        now += 50
        waiting = [
            t.node.id
            for t in state.tasks
            if t.state == "running" and t.site.control != "none" and not t.parts
        ]
        if waiting:
            names = tuple(map(str, range(chance.randrange(4)))) if waiting[0] == "m" else ()
            step(state, progress, Resolved(now, waiting[0], names, chance.random() < 0.5))
        else:
            node = chance.choice([n for n, t in state.running.items() if t.site.control == "none"])
            failure = Failure("FR201", "no") if node != "load" and chance.random() < 0.3 else None
            artifact = None if failure else Artifact("a", 1)
            step(state, progress, Exited(now, node, state.by_id[node].attempt, artifact, failure))
        counts = state.counts
        hand = by_hand(state)
        assert {site: n for site, n in counts.totals.items() if n} == {
            site: n for site, (n, _) in hand.items()
        }
        ended = {site: {s: n for s, n in of.items() if n} for site, of in counts.ended.items()}
        assert {site: of for site, of in ended.items() if of} == {
            site: of for site, (_, of) in hand.items() if of
        }
        rows, more = progress.rows(state, 99)
        assert more == 0
        under_way = {row.site for row in rows}
        for site, (total, of) in hand.items():
            if sum(of.values()) == total:
                assert site not in under_way
        left = sum(
            state.expected.ms(task.site)
            for task in state.tasks
            if task.site.control == "none" and task.state in ("pending", "ready", "running")
        )
        assert progress._left_ms == left
    assert progress.left_ms(state, now) == 0


def test_time_left_is_by_the_plan_until_more_is_known():
    state, progress = begin(
        "a estimate=1000\n" + "\n".join(f"b[{i}] < a estimate=1000" for i in range(8)), cpus=2
    )
    assert progress.left_ms(state, 0) == 9000  # one after the other so far, and at least `a` and a `b`
    step(state, progress, Exited(2000, "a", 1, Artifact("a", 1)))
    left = progress.left_ms(state, 2000)
    assert left == 8000
    for i in range(4):
        now = 2000 + 2000 * (i // 2 + 1)
        step(state, progress, Exited(now, f"b[{i}]", 1, Artifact("a", 1)))
    assert 4000 <= progress.left_ms(state, 6000) <= 6000


def test_of_what_nobody_knows_nothing_is_said():
    state, progress = begin("a\nb < a")
    assert progress.left_ms(state, 10) is None
    step(state, progress, Exited(100, "a", 1, Artifact("a", 1)))
    assert progress.left_ms(state, 100) == 100


def test_the_longest_way_counts_where_little_is_left_to_do():
    chain = "\n".join(["a0 estimate=100", *(f"a{i} < a{i - 1} estimate=100" for i in range(1, 10))])
    state, progress = begin(chain + "\nb estimate=100\nc estimate=100\nd estimate=100", cpus=4)
    for node in ("a0", "b", "c", "d"):
        step(state, progress, Exited(100, node, 1, Artifact("a", 1)))
    assert progress.left_ms(state, 100) == pytest.approx(900)  # nine after each other, not 900 / 4


def test_the_level_is_the_first_at_which_something_is_left_to_do():
    state, progress = begin("a\nb\nc < a\nd < c b\ne < d")
    seen = [progress.level(state)]
    for now, node in enumerate("acbde", 1):
        failure = Failure("FR201", "no") if node == "d" else None
        if node != "e":  # which is blocked by then
            step(state, progress, Exited(now, node, 1, None if failure else Artifact("a", 1), failure))
        seen.append(progress.level(state))
    assert seen == [(1, 4), (1, 4), (1, 4), (3, 4), (4, 4), (4, 4)]


def test_the_nodes_of_a_loop_are_at_its_level():
    state, progress = begin("load\nm control=map < load\nend < m")
    step(state, progress, Exited(1, "load", 1, Artifact("a", 1)))
    step(state, progress, Resolved(2, "m", ("x", "y")))
    step(state, progress, Exited(3, "m[x]", 1, Artifact("a", 1)))
    assert progress.level(state) == (2, 3)
    step(state, progress, Exited(4, "m[y]", 1, Artifact("a", 1)))
    assert progress.level(state) == (3, 3)


def test_nodes_a_second_and_failures():
    state, progress = begin("\n".join(f"a[{i}]" for i in range(10)), cpus=10)
    for i in range(10):
        failure = Failure("FR201", f"no {i}")
        step(state, progress, Exited(100 * i, f"a[{i}]", 1, failure=failure))
    assert progress.per_s(1000) == pytest.approx(10)
    assert progress.per_s(30_000) == 0
    assert [failed.node for failed in progress.failures] == [f"a[{i}]" for i in range(5, 10)]
    assert progress.sites("finished") == 1
