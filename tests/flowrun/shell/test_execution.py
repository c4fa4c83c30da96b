"""The loop's own decisions: values of inputs, reasons of kills."""

import pytest
from graphs import host, plan

from flowrun.core.changes import CancelRequested, Exceeded, Exited, Finish, Opened, Woke
from flowrun.core.fleet import Fleet, evict
from flowrun.core.model import Artifact, Failure
from flowrun.core.pool import Pool
from flowrun.core.scheduler.request import Lane
from flowrun.core.scheduler.scheduler import Scheduler
from flowrun.core.state import Shared, State
from flowrun.shell.execution import Execution
from flowrun.shell.host.affinity import Cpus
from flowrun.shell.host.leases import Leases
from flowrun.shell.log.home import Home
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.loop import Loop
from flowrun.shell.values import Values


class Quiet:
    """A pool and a watcher that do nothing, and remember."""

    def __init__(self):
        self.spawned, self.killed, self.seen = [], [], []

    def spawn(self, order):
        self.spawned.append(order)

    def kill(self, run, node, attempt, force):
        self.killed.append((run, node, attempt, force))

    def see(self, state, changes):
        self.seen += changes


@pytest.fixture
def quiet():
    return Quiet()


class One:
    """A run that is executed: `step` takes it through events."""

    def __init__(self, folder, quiet, graph, inputs):
        home = Home(folder)
        self.log = RunLog(home, writable=True)
        self.run = self.log.create("main", "p", 1)
        leases = Leases(host())
        self.loop = Loop(Fleet(Scheduler(Pool((host(),)))), self.log, leases)
        found = plan(graph, inputs=dict.fromkeys(inputs, "Any"))
        self.state = State(found, inputs, shared=Shared(self.loop.fleet.scheduler, self.run, Lane(), (0, 0)))
        held = leases, Cpus(2, [4, 5])
        self.loop.open(Execution(self.run, self.state, home, quiet, *held, quiet), opened(inputs))

    def step(self, *events):
        self.loop.step([(self.run, event) for event in events])

    def logged(self):
        self.loop.settle()
        return self.log.changes(self.run)


@pytest.fixture
def execution(tmp_path, quiet):
    made = []

    def make(graph, inputs=None):
        made.append(One(tmp_path, quiet, graph, inputs or {}))
        return made[-1]

    yield make
    for one in made:
        one.loop.close()


def opened(inputs=None):
    return Opened(0, "p", inputs or {}, host())


def test_a_step_is_logged_then_carried_out_then_shown(execution, quiet):
    one = execution("a x=5\nb < a")
    (order,) = quiet.spawned
    assert (order.node, order.attempt, order.op, order.args) == ("a", 1, "flows:a", {"x": 5})
    assert one.logged() == quiet.seen
    one.step(Exited(5, "a", 1, Artifact("f" * 64, 3)))
    assert quiet.spawned[1].args == {"a0": {"artifact": "f" * 64, "at": ()}}
    assert one.logged() == quiet.seen


def test_inputs_are_sent_as_values(execution, quiet):
    inputs = {"n": 3, "options": {"deep": {"x": 1}}}
    text = 'a reads=n y={"input":"options","at":["deep","x"]}'
    execution(text, inputs)
    assert quiet.spawned[0].args == {"n": {"value": 3}, "y": {"value": 1}}


def test_what_comes_with_the_end_comes_too_late(execution):
    """A Ctrl-C together with the last exit: the log ends with the end."""
    one = execution("a")
    one.step(Exited(5, "a", 1, Artifact("f" * 64, 3)), CancelRequested(5))
    assert one.logged()[-1] == Finish(5, "succeeded")


def test_each_whole_cpu_is_one_nodes_until_that_is_over(execution, quiet):
    one = execution("a\nb\nc < a\nd cpus=2 < b c")
    assert [order.on for order in quiet.spawned] == [(4,), (5,)]
    one.step(Exited(5, "a", 1, Artifact("f" * 64, 3)))
    one.step(Exited(6, "b", 1, Artifact("f" * 64, 3)))
    one.step(Exited(7, "c", 1, Artifact("f" * 64, 3)))
    assert [order.on for order in quiet.spawned[2:]] == [(4,), (4, 5)]


class TestReasons:
    @pytest.fixture
    def killed(self, execution):
        """What becomes of a node that is killed for a reason and then ends with a failure."""

        def end(graph, reason, failure):
            one = execution(graph)
            if reason == "cancelled":
                one.step(CancelRequested(10))
            if reason == "timeout":
                one.step(Woke(10_000))
            if reason == "preempted":
                one.loop.commit(evict(one.loop.fleet, 10))
            one.step(Exited(11_000, "a", 1, failure=failure))
            return one.state.by_id["a"].failure

        return end

    BY_SIGNAL = Failure("FR202", "its process was killed by SIGTERM")

    def test_a_time_limit(self, killed):
        found = killed("a timeout=1500", "timeout", self.BY_SIGNAL)
        assert found == Failure("FR203", "it took longer than its time limit of 1.5 s")

    @pytest.mark.parametrize("graph", ["a", "a timeout=60000"])
    def test_a_cancelled_run(self, killed, graph):
        """It was not the time limit, even where there is one."""
        assert killed(graph, "cancelled", self.BY_SIGNAL) == Failure("FR202", "cancelled")

    @pytest.mark.parametrize(
        ("reason", "used", "found"),
        [
            ("hang", 61_000, Failure("FR215", "it gave no sign of life for 60 s")),
            ("memory", 170, Failure("FR213", "it held 170 MB of memory, and had asked for 100 MB")),
        ],
    )
    def test_it_was_over_a_limit(self, execution, quiet, reason, used, found):
        one = execution("a heartbeat=60000 memory=100 retry_on=crash retries=1")
        one.step(Exceeded(10, "a", 1, reason, used))
        assert quiet.killed == [(one.run, "a", 1, reason == "memory")]
        one.step(Exited(11_000, "a", 1, failure=self.BY_SIGNAL))
        failure = one.state.by_id["a"].failure
        assert (failure.code, failure.message) == (found.code, found.message)

    def test_nobody_killed_it(self, killed):
        assert killed("a timeout=60000", "", self.BY_SIGNAL) == self.BY_SIGNAL

    @pytest.mark.parametrize("code", ["FR201", "FR202"])
    def test_it_was_preempted(self, killed, code):
        """Whether the signal ended it or an exception that it raised when the signal came."""
        found = killed("a", "preempted", Failure(code, "it ended"))
        assert found == Failure("FR209", "it was preempted: the daemon ends")

    RAISED = Failure("FR201", "SystemExit: ended", "flows.py:7", "see to the file")

    @pytest.mark.parametrize(
        ("graph", "reason", "found"),
        [
            ("a timeout=1500", "timeout", ("FR203", "it took longer than its time limit of 1.5 s")),
            ("a", "cancelled", ("FR202", "cancelled")),
        ],
    )
    def test_an_exception_that_it_raised_when_it_was_asked_to_end(self, killed, graph, reason, found):
        """That is what a handler of SIGTERM does which lets `finally` run: the reason is ours still."""
        assert killed(graph, reason, self.RAISED) == Failure(*found, "flows.py:7")

    def test_silence_is_worth_another_attempt_however_it_ends(self, execution):
        one = execution("a heartbeat=1000 retry_on=hang retries=1")
        one.step(Exceeded(10, "a", 1, "hang", 1001))
        one.step(Exited(11, "a", 1, failure=self.RAISED))
        assert one.state.by_id["a"].retried == {"hang": 1}

    @pytest.mark.parametrize(
        ("reason", "own"),
        [("", Failure("FR201", "ValueError")), ("timeout", Failure("FR205", "it gives another type"))],
    )
    def test_it_failed_by_itself(self, killed, reason, own):
        assert killed("a timeout=1500", reason, own) == own


def test_a_field_of_an_input():
    state = State(plan(""), {"n": {"deep": [1, 2]}})
    assert Values(state, None).located({"input": "n", "at": ["deep"]}) == {"value": [1, 2]}
    assert Values(state, None).located({"input": "n"}) == {"value": {"deep": [1, 2]}}
