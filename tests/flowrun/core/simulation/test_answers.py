"""What only a run knows."""

import graphs
import msgspec
import pytest
from predicting import played

from flowc.plan.history import History, Record
from flowrun.core.simulation.answers import Answers, Assumption

LOOP = "a\nm control=map < a"


def test_ten_items_and_conditions_that_hold_unless_something_is_known():
    told = played("a\nm control=map < a\nb control=branch < a").assumptions
    assert told == [Assumption("m", 10, "assumed"), Assumption("b", True, "assumed")]


def test_what_is_given_is_for_a_node_or_for_all_of_a_site():
    text = "a\nm[x] control=map < a\nm[y] < a"
    told = played(text, assume={"m": 2, "m[y]": 5}).assumptions
    assert [(assumption.node, assumption.answer) for assumption in told] == [("m[x]", 2), ("m[y]", 5)]


def test_history_knows_how_many_items_there_were():
    answers = Answers({}, None, History((Record("flows:m", "c0de", 4, 10, items=4),)))
    run = graphs.Run(LOOP)
    run.done("a")
    assert len(answers.resolve(run.state, run["m"], 0).names) == 4
    assert answers.told[0].reason == "history"


@pytest.mark.parametrize(
    ("tree", "items"), [([1, 2, 3], 3), ({"input": "rows"}, 2), ({"input": "other"}, 10)]
)
def test_what_follows_from_plan_and_inputs_is_no_assumption(tree, items):
    plan = graphs.plan(LOOP)
    nodes = (plan.nodes[0], msgspec.structs.replace(plan.nodes[1], args={"item": tree}))
    plan = msgspec.structs.replace(plan, nodes=nodes)
    (told,) = played(plan, inputs={"rows": ["x", "y"]}).assumptions
    assert (told.answer, told.reason) == (items, "known" if items < 10 else "assumed")


def test_the_items_of_a_loop_over_a_loop_are_known():
    told = played("a\nm control=map < a\nn control=map < m", assume={"m": 3}).assumptions
    assert told == [Assumption("m", 3, "given"), Assumption("n", 3, "known")]


def test_a_reduction_of_nothing_would_fail():
    assert len(played("a\nr control=reduce < a", assume={"r": 0}).timeline.intervals) == 1
