"""What other processes hold of the host is not given out, and not waited for in silence."""

from graphs import Run, host, plan, say

from flowrun.core.changes import Elsewhere, Exited, Opened, Outsider
from flowrun.core.decide import decide
from flowrun.core.failures import TAKEN
from flowrun.core.model import Failure, Placement
from flowrun.core.scheduler.waits import waits
from flowrun.core.state import State

OTHER = "another flowrun (process 5 of ana)"


def holds(memory_mb=0, gpu=None, share=0):
    gpus = () if gpu is None else (gpu,)
    return Outsider(OTHER, Placement(0, memory_mb, gpus, share))


class Host(Run):
    def is_shared(self, *held, at=None):
        self.now = self.now if at is None else at
        return self._step(Elsewhere(self.now, held))

    def was_taken(self, node, *held):
        failure = Failure(TAKEN, "another process was first")
        exited = Exited(self.now, node, self[node].attempt, failure=failure, elsewhere=held)
        return self._step(exited)


def test_what_is_held_elsewhere_is_not_given_out():
    run = Host("a cpus=2 memory=100\nb cpus=1 memory=600", host(2, 1000))
    assert run.opened == ["start a.1"]
    assert run.is_shared(holds(500)) == []
    assert run.done("a") == []
    assert run.is_shared(holds(300), at=10) == ["start b.1"]
    assert run.state.scheduler.stuck() == []


def test_it_is_known_when_a_run_opens():
    found = plan("a gpus=1\nb gpus=1")
    state = State(found, {})
    opened = Opened(0, "plan", {}, host(2, 1000, [80, 80]), elsewhere=(holds(gpu=0),))
    assert [say(command) for command in decide(state, opened)] == ["start a.1 on gpu 1"]


def test_what_was_taken_first_waits_and_has_not_failed():
    run = Host("a gpus=1", host(2, 1000, [80]))
    assert run.was_taken("a", holds(gpu=0)) == ["retry a at 50 (taken)"]
    assert run.wake(50) == []  # neither started nor given up
    assert run.is_shared(at=100) == ["start a.2 on gpu 0"]
    assert run["a"].retried == {"taken": 1}


def test_however_often():
    run = Host("a gpus=1", host(2, 1000, [80]))
    for attempt in range(1, 20):
        assert run.was_taken("a") == [f"retry a at {run.now + 50} (taken)"]
        assert run.wake(run.now + 50) == [f"start a.{attempt + 1} on gpu 0"]


def test_two_that_were_taken_at_once():
    run = Host("a gpus=1\nb gpus=1", host(2, 1000, [80, 80]))
    taken = holds(gpu=0), holds(gpu=1)
    run.was_taken("a", *taken)
    run.was_taken("b", *taken)
    assert run.wake(50) == []
    assert run.is_shared(holds(gpu=0), at=60) == ["start a.2 on gpu 1"]


def test_a_part_of_what_another_node_was_to_have_whole():
    """For as long as nobody has told that this one was refused, too, both are taken to hold the GPU."""
    run = Host("a gpus=1\nb gpus=1", host(2, 1000, [80, 80]))
    taken = holds(gpu=0, share=30), holds(gpu=1, share=30)
    run.was_taken("a", *taken)
    run.was_taken("b", *taken)
    assert [gpu.memory_mb for gpu in run.state.scheduler.pool.left().gpus] == [50, 50]
    assert run.wake(50) == []
    assert run.is_shared(at=60) == ["start a.2 on gpu 0", "start b.2 on gpu 1"]


def test_parts_of_a_gpu():
    run = Host("a gpus=1 gpu_memory=50", host(2, 1000, [80]))
    run.was_taken("a", holds(gpu=0, share=40))
    assert run.wake(50) == []
    assert run.is_shared(holds(gpu=0, share=30), at=60) == ["start a.2 on gpu 0"]


def test_why_says_who():
    run = Host("a gpus=1", host(2, 1000, [80]))
    run.was_taken("a", holds(gpu=0))
    run.wake(50)
    scheduler = run.state.scheduler
    why = waits(scheduler, scheduler.queue[run["a"].ref], 60)
    assert str(why) == f"gpus: needs 1, has 0; `{OTHER}` holds 1"
