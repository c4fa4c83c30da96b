"""The tasks of a run: who is given whose artifacts, and who waits for a loop's nodes."""

from graphs import plan

from flowrun.core.derived import derive
from flowrun.core.graph import Graph

LOOP = """
    items
    rate
    m    control=map < items rate
    use  < m
    last trigger=always after=m
"""


def graph_of(text):
    of = plan(text)
    return Graph(of, {}, None, derive(of, {}), "run")


def ids(graph, numbers):
    return [graph.tasks[i].node.id for i in numbers]


class TestTaken:
    def test_what_arguments_refer_to(self):
        graph = graph_of("a\nb\nc < a b")
        assert graph.taken_by(graph.by_id["c"]) == {"a", "b"}

    def test_through_control_nodes_once_they_are_resolved(self):
        graph = graph_of(LOOP)
        assert graph.taken_by(graph.by_id["use"]) == {"m"}
        graph.results["m"] = [{"from": "m[0]"}, {"from": "m[1]"}]
        assert graph.taken_by(graph.by_id["use"]) == {"m[0]", "m[1]"}

    def test_who_waits_for_an_end_takes_nothing(self):
        graph = graph_of(LOOP)
        assert graph.taken_by(graph.by_id["last"]) == set()


class TestBelow:
    def test_is_what_depends_on_a_task_itself(self):
        graph = graph_of("a\nb < a\nc < b")
        assert [task.node.id for task in graph.below(graph.by_id["a"])] == ["b"]

    def test_goes_on_through_control_nodes_that_have_a_result(self):
        graph = graph_of(LOOP)
        assert [task.node.id for task in graph.below(graph.by_id["items"])] == ["m", "last"]
        graph.by_id["m"].state = "succeeded"
        assert [task.node.id for task in graph.below(graph.by_id["items"])] == ["m", "use", "last"]


class TestUnfolding:
    def test_its_nodes_wait_for_what_is_due_and_the_loop_for_them(self):
        graph = graph_of(LOOP)
        graph.by_id["items"].state = "succeeded"
        loop = graph.by_id["m"]
        made, result = graph.unfold(loop, ("x", "y"))
        assert [(task.node.id, task.missing, task.index) for task in made] == [("m[x]", 1, 5), ("m[y]", 1, 6)]
        assert result == [{"from": "m[x]"}, {"from": "m[y]"}]
        assert (loop.result, loop.missing, loop.parts) == (result, 2, 2)
        assert ids(graph, graph.dependents[graph.by_id["rate"].index]) == ["m", "last", "m[x]", "m[y]"]
        assert ids(graph, graph.dependents[graph.by_id["m[x]"].index]) == ["last", "m"]

    def test_handlers_wait_for_all_of_them(self):
        graph = graph_of(LOOP)
        last = graph.by_id["last"]
        before = last.missing
        graph.unfold(graph.by_id["m"], ("x", "y"))
        assert last.missing == before + 2

    def test_what_each_gives_is_inside_of_what_the_loop_gives(self):
        graph = graph_of("items\nm control=map gives=list[int] < items")
        (made,), _ = graph.unfold(graph.by_id["m"], ("x",))
        assert (made.site.gives, made.site.control) == ("int", "none")

    def test_keys_tell_its_nodes_apart(self):
        graph = graph_of(LOOP)
        made, _ = graph.unfold(graph.by_id["m"], ("x", "y"))
        assert len({graph.keys[task.index] for task in made}) == 2

    def test_of_nothing_there_is_only_the_result(self):
        graph = graph_of(LOOP)
        loop = graph.by_id["m"]
        missing = loop.missing
        assert graph.unfold(loop, ()) == ([], [])
        assert (loop.missing, loop.parts) == (missing, 0)
