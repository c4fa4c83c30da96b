"""When what ran on what."""

import graphs
from predicting import played

from flowrun.core.changes import Exited
from flowrun.core.model import Artifact, Usage
from flowrun.core.timeline import timeline_of


def test_of_a_real_run_times_count_from_its_opening():
    run = graphs.Run("a\nb < a", now=1000)
    usage = Usage(wall_ms=30)
    run._step(Exited(1050, "a", 1, Artifact("a" * 64, 1), usage=usage))
    found = timeline_of(run.state, graphs.host(), now_ms=1090)
    assert [(i.node, i.start_ms, i.began_ms, i.end_ms) for i in found.intervals] == [
        ("a", 0, 20, 50),
        ("b", 50, 50, 90),  # it is running still
    ]
    assert found.makespan_ms == 90


def test_a_loop_is_two_moments_around_its_nodes():
    timeline = played("a\nm control=map < a\nz < m", assume={"m": 2}).timeline
    names = ["" if s.interval < 0 else timeline.intervals[s.interval].node for s in timeline.steps]
    assert names == ["a", "", "m[0]", "m[1]", "", "z"]
    assert [sorted(set(step.preds)) for step in timeline.steps] == [[], [0], [0, 1], [0, 1], [1, 2, 3], [4]]


def test_what_was_kept_from_before_did_not_run():
    from flowrun.core.changes import Earlier

    kept = Earlier(1, 5, 9, artifact=Artifact("a" * 64, 1))
    run = graphs.Run("a\nb < a", earlier={"a": kept}, now=100)
    run.now = 120
    run.done("b")
    assert [i.node for i in timeline_of(run.state, graphs.host()).intervals] == ["b"]
