"""What a resumed run keeps, and a new one takes over."""

import pytest
from graphs import Run, plan

from flowrun.core.resume import carry_over, from_there_on
from flowrun.core.state import State

GRAPH = "items\nm control=map < items\nsum < m\nother reads=n\nend trigger=always after=sum"


def sound(_):
    return True


def finished(text=GRAPH, **inputs):
    run = Run(text, inputs=inputs)
    while run.state.status == "running":
        node = next(task.node.id for task in run.state.tasks if task.state == "running" and not task.parts)
        if run[node].site.control == "none":
            run.done(node)
        else:
            run.knows(node, 3)
    return run.state


def kept(earlier):
    return {node for node, was in earlier.items() if was.artifact is not None}


@pytest.mark.parametrize(
    ("nodes", "run_again"),
    [
        ([], {"end"}),  # a handler for the end is never kept
        (["other"], {"other", "end"}),
        (["sum"], {"sum", "end"}),
        (["m[1]"], {"m[1]", "sum", "end"}),
        (["m"], {"m[0]", "m[1]", "m[2]", "sum", "end"}),
        (["items"], {"items", "m[0]", "m[1]", "m[2]", "sum", "end"}),
        (["items", "other"], {"items", "m[0]", "m[1]", "m[2]", "sum", "other", "end"}),
    ],
)
def test_running_again_from_a_node_on(nodes, run_again):
    before = finished()
    again = from_there_on(before, nodes)
    earlier = carry_over(before, State(plan(GRAPH), {}), sound, again)
    everything = {task.node.id for task in before.tasks if task.site.control == "none"}
    assert everything - kept(earlier) == run_again
    assert earlier["m[1]"].attempt == 1


def test_of_a_reduction_all_runs_again():
    before = finished("items\nr control=reduce < items\nlast < r")
    assert from_there_on(before, ["r[0.0]"]) == {"r", "last"}
