"""Control nodes: what they come to, and what the scheduler decides about them and their dependents."""

import pytest
from graphs import Run, host, plan
from msgspec import structs

from flowc.plan.model import Code, Node
from flowrun.core.changes import GRACE_MS, Exited, Opened, Resolved
from flowrun.core.control import flat, part_of, unfold
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure
from flowrun.core.resume import carry_over
from flowrun.core.state import State

WIDE = host(cpus=100)
UNFIT = Failure("FR208", "not a list")
IF = """
    flag
    big    control=branch < flag
    this   when=big
    that   unless=big
    either control=choose < big this that
    use    < either
"""


def names(nodes):
    return {node.id: node.args for node in nodes}


class TestTrees:
    def test_a_reference_to_a_control_node_becomes_what_that_came_to(self):
        results = {"m": [{"from": "m[0]"}, {"from": "m[1]"}], "c": {"from": "a", "at": ["x"]}, "n": None}
        tree = {"map": {"all": {"from": "m"}, "one": [{"from": "m", "at": [1]}, {"from": "c", "at": ["y"]}]}}
        assert flat(tree, results) == {
            "map": {
                "all": [{"from": "m[0]"}, {"from": "m[1]"}],
                "one": [{"from": "m[1]"}, {"from": "a", "at": ["x", "y"]}],
            }
        }
        assert flat([{"from": "n"}, {"input": "i"}, {"from": "a"}, 5], results) == [
            None,
            {"input": "i"},
            {"from": "a"},
            5,
        ]

    def test_a_path_goes_into_literals_and_on_in_references(self):
        assert part_of({"map": {"a": [1, {"input": "i"}]}}, ("a", 1, "f")) == {"input": "i", "at": ["f"]}
        for tree, path in [(5, ("x",)), ([1], (1,)), ([1], ("x",)), ({"map": {}}, ("x",)), (None, (0,))]:
            with pytest.raises(KeyError):
                part_of(tree, path)

    def test_what_a_result_does_not_have_stays_a_reference_that_nobody_can_read(self):
        assert flat([{"from": "c", "at": ["x"]}], {"c": 5}) == [{"from": "c", "at": ["x"]}]


class TestUnfolding:
    def test_a_map_has_a_node_for_each_item_which_shares_the_other_arguments(self):
        args = {"item": {"from": "items", "at": ["rows"]}, "rate": {"input": "rate"}}
        nodes, result = unfold(Node("m", args), "map", ("item",), args, ("a", "b"))
        assert names(nodes) == {
            "m[a]": {"item": {"from": "items", "at": ["rows", 0]}, "rate": {"input": "rate"}},
            "m[b]": {"item": {"from": "items", "at": ["rows", 1]}, "rate": {"input": "rate"}},
        }
        assert result == [{"from": "m[a]"}, {"from": "m[b]"}]

    def test_a_map_over_the_results_of_a_map_reads_them_directly(self):
        args = {"item": [{"from": "m[0]"}, {"from": "m[1]"}]}
        nodes, _ = unfold(Node("n", args), "map", ("item",), args, ("0", "1"))
        assert names(nodes) == {"n[0]": {"item": {"from": "m[0]"}}, "n[1]": {"item": {"from": "m[1]"}}}

    def test_of_no_items(self):
        args = {"item": []}
        assert unfold(Node("m", args), "map", ("item",), args, ()) == ([], [])

    @pytest.mark.parametrize(
        ("items", "initial", "calls", "result"),
        [
            (1, False, [], "0"),
            (2, False, ["0+1"], "r[0.0]"),
            (3, False, ["0+1", "r[0.0]+2"], "r[1.0]"),
            (5, False, ["0+1", "2+3", "r[0.0]+r[0.1]", "r[1.0]+4"], "r[2.0]"),
            (
                8,
                False,
                ["0+1", "2+3", "4+5", "6+7", "r[0.0]+r[0.1]", "r[0.2]+r[0.3]", "r[1.0]+r[1.1]"],
                "r[2.0]",
            ),
            (0, True, [], "i"),
            (1, True, ["i+0"], "r[0.0]"),
            (2, True, ["i+0", "r[0.0]+1"], "r[1.0]"),
        ],
    )
    def test_a_reduction_combines_neighbours_in_order(self, items, initial, calls, result):
        def short(tree):
            return str(tree["at"][0]) if "at" in tree else tree.get("input") or tree["from"]

        args = {"items": {"from": "x"}, **({"initial": {"input": "i"}} if initial else {}), "s": 7}
        nodes, found = unfold(Node("r", args), "reduce", ("a", "b"), args, tuple(map(str, range(items))))
        assert [f"{short(node.args['a'])}+{short(node.args['b'])}" for node in nodes] == calls
        assert all(node.args["s"] == 7 for node in nodes)
        assert short(found) == result


class TestBranches:
    @pytest.mark.parametrize(("holds", "runs", "skipped"), [(True, "this", "that"), (False, "that", "this")])
    def test_the_branch_that_is_taken_runs_and_the_other_is_skipped(self, holds, runs, skipped):
        run = Run(IF)
        assert run.done("flag") == ["resolve big"]
        assert run.knows("big", holds) == [f"skip {skipped} by big", f"start {runs}.1"]
        assert run.done(runs) == ["start use.1"]
        assert run.state.results["either"] == {"from": runs}
        assert run.done("use") == ["finish succeeded"]
        assert run.states() == {"succeeded": f"flag big {runs} either use", "skipped": skipped}

    def test_a_choice_is_made_when_the_last_of_what_it_needs_is_over(self):
        run = Run(IF)
        for run.now, node in ((10, "flag"), (50, "this")):
            run.done(node)
            run.knows("big", True)
        assert run["either"].ended_ms == 50

    def test_a_condition_that_is_an_input_is_asked_for_at_once(self):
        run = Run(plan('big control=branch condition={"input":"i"}\nthis when=big', inputs={"i": "bool"}))
        assert run.opened == ["resolve big"]
        assert run.knows("big", False) == ["skip this by big", "finish succeeded"]

    def test_skipping_spreads_to_those_that_need_the_result_but_not_over_after(self):
        run = Run("f\nb control=branch < f\na when=b\nneeds < a\nlast after=a\nfar < needs", on=WIDE)
        run.done("f")
        assert run.knows("b", False) == ["skip a by b", "skip needs by b", "skip far by b", "start last.1"]

    def test_a_choice_of_values_from_outside_takes_one_and_skips_nothing(self):
        run = Run("f\nx\ny\nb control=branch < f\nc control=choose < b x y", on=WIDE)
        run.done("x")
        run.done("f")
        assert run.knows("b", True) == []  # a choice is made when all are over
        assert run.done("y") == ["finish succeeded"]
        assert run.state.results["c"] == {"from": "x"}

    @pytest.mark.parametrize(("holds", "status"), [(True, "blocked"), (False, "succeeded")])
    def test_of_which_only_the_one_taken_has_to_have_succeeded(self, holds, status):
        run = Run("f\nx\ny\nb control=branch < f\nc control=choose < b x y\nd < c", on=WIDE)
        run.done("f")
        run.knows("b", holds)
        run.done("y")
        assert run.fails("x") == [
            "fail x",
            *(["block c by x", "block d by x", "finish failed"] if holds else ["start d.1"]),
        ]
        assert run["c"].state == status

    def test_a_failure_in_the_branch_that_is_taken_blocks_the_choice(self):
        run = Run(IF)
        run.done("flag")
        run.knows("big", True)
        assert run.fails("this") == [
            "fail this",
            "block either by this",
            "block use by this",
            "finish failed",
        ]

    def test_a_choice_that_takes_what_was_skipped_elsewhere_is_skipped_itself(self):
        run = Run(
            "f\nb control=branch < f\na when=b\ng\nb2 control=branch < g\nc control=choose < b2 a\nd < c"
        )
        run.done("f")
        run.knows("b", False)
        run.done("g")
        assert run.knows("b2", True) == ["skip c by b", "skip d by b", "finish succeeded"]

    def test_as_is_one_whose_condition_was_skipped(self):
        run = Run(
            "f\nb control=branch < f\ng when=b\nb2 control=branch < g\nx when=b2\n"
            "c control=choose < b2 x\nd < c"
        )
        run.done("f")
        skipped = [f"skip {node} by b" for node in ("g", "b2", "x", "c", "d")]
        assert run.knows("b", False) == [*skipped, "finish succeeded"]

    def test_nested_branches(self):
        text = """
            f
            g
            outer control=branch < f
            inner control=branch < g  when=outer
            a when=outer,inner
            b when=outer  unless=inner
            x control=choose < inner a b  when=outer
            c unless=outer
            y control=choose < outer x c
        """
        run = Run(text)
        run.done("g")
        run.done("f")
        assert run.knows("outer", True) == ["resolve inner", "skip c by outer"][::-1]
        assert run.knows("inner", False) == ["skip a by inner", "start b.1"]
        assert run.done("b") == ["finish succeeded"]
        assert run.state.results["y"] == {"from": "b"}
        run = Run(text)
        run.done("g")
        run.done("f")
        skipped = [f"skip {node} by outer" for node in ("inner", "a", "b", "x")]
        assert run.knows("outer", False) == [*skipped, "start c.1"]

    def test_a_condition_that_cannot_be_had_fails(self):
        run = Run(IF)
        run.done("flag")
        blocked = [f"block {node} by big" for node in ("this", "that", "either", "use")]
        assert run.knows("big", UNFIT) == ["fail big", *blocked, "finish failed"]

    def test_a_branch_whose_dependency_failed_is_blocked(self):
        run = Run(IF)
        assert run.fails("flag")[:2] == ["fail flag", "block big by flag"]

    def test_ten_thousand_choices_in_a_row(self):
        rows = [f"c{i} control=choose < b c{i - 1} x" for i in range(1, 10_000)]
        run = Run("f\nx\nb control=branch < f\nc0 control=choose < b x x\n" + "\n".join(rows))
        run.done("x")
        run.done("f")
        assert run.knows("b", True) == ["finish succeeded"]
        assert run.state.results["c9999"] == {"from": "x"}


class TestLoops:
    def test_a_loop_has_nodes_when_its_length_is_known_and_is_done_with_the_last(self):
        run = Run("items\nm control=map < items  retries=1 backoff=0\nuse < m")
        assert run.done("items") == ["resolve m"]
        assert run.knows("m", 3) == ["start m[0].1", "start m[1].1"]
        assert run.done("m[1]") == ["start m[2].1"]
        assert run.fails("m[0]") == ["retry m[0] at 0", "start m[0].2"]
        run.done("m[2]")
        assert run.done("m[0]") == ["start use.1"]
        assert run.state.results["m"] == [{"from": f"m[{i}]"} for i in range(3)]

    def test_of_no_items_is_done_at_once(self):
        run = Run("items\nm control=map < items\nuse < m")
        run.done("items")
        assert run.knows("m", 0) == ["start use.1"]
        assert run.state.results["m"] == []

    def test_a_map_of_a_map(self):
        run = Run("items\nm control=map < items\nn control=map < m", on=WIDE)
        run.done("items")
        run.knows("m", ["a", "b"])
        run.done("m[a]")
        assert run.done("m[b]") == ["resolve n"]
        assert run.knows("n", 2) == ["start n[0].1", "start n[1].1"]
        assert run["n[1]"].node.args == {"item": {"from": "m[b]"}}

    def test_a_reduction_goes_up_its_tree_as_results_come(self):
        run = Run("items\nr control=reduce < items", on=WIDE)
        run.done("items")
        assert run.knows("r", 4) == ["start r[0.0].1", "start r[0.1].1"]
        assert run.done("r[0.1]") == []
        assert run.done("r[0.0]") == ["start r[1.0].1"]
        assert run.done("r[1.0]") == ["finish succeeded"]

    def test_a_reduction_of_one_item_is_that_item(self):
        run = Run("items\nr control=reduce < items\nuse < r")
        run.done("items")
        assert run.knows("r", 1) == ["start use.1"]
        assert run.state.results["r"] == {"from": "items", "at": [0]}

    def test_a_node_that_fails_blocks_the_loop_while_the_others_go_on(self):
        run = Run("items\nm control=map < items\nuse < m")
        run.done("items")
        run.knows("m", 3)
        assert run.fails("m[0]") == ["fail m[0]", "block m by m[0]", "block use by m[0]", "start m[2].1"]
        run.done("m[1]")
        assert run.done("m[2]") == ["finish failed"]

    def test_a_lost_node_of_a_loop_starts_again(self):
        run = Run("items\nm control=map < items")
        run.done("items")
        run.knows("m", 1)
        assert run.is_lost("m[0]") == ["retry m[0] at 0 (lost)", "start m[0].2"]

    def test_a_list_that_is_none_fails_the_loop(self):
        run = Run("items\nm control=map < items\nuse < m")
        run.done("items")
        assert run.knows("m", UNFIT) == ["fail m", "block use by m", "finish failed"]

    def test_a_loop_in_a_branch_that_is_not_taken_has_no_nodes(self):
        run = Run("f\nb control=branch < f\nm control=map < f  when=b\nc control=choose < b m")
        run.done("f")
        assert run.knows("b", False) == ["skip m by b", "finish succeeded"]
        assert run.state.results["c"] is None

    def test_the_keys_of_its_nodes_tell_of_the_versions_of_packages(self):
        told = structs.replace(
            plan("items\nm control=map < items op=f:f"), codes=(Code("f:f", {}, ("numpy",)),)
        )

        def key(version):
            state = State(told, {}, {"numpy": version})
            for event in (
                Opened(0, "plan", {}, host()),
                Exited(0, "items", 1, Artifact("a" * 64, 1)),
                Resolved(0, "m", names=("one",)),
            ):
                decide(state, event)
            return state.keys[state.by_id["m[one]"].index]

        assert key("1") == key("1") != key("2")

    def test_nodes_with_a_higher_priority_start_first(self):
        run = Run("a\nb priority=1\nc priority=-1\nd < c", on=host(cpus=1))
        assert [*run.opened, *run.done("b"), *run.done("a")] == ["start b.1", "start a.1", "start c.1"]


class TestAtTheEnd:
    BOTH = """
        a retries=1 backoff=0
        b < a
        sorry after=b trigger=failure
        tell  < sorry
        end   after=b trigger=always
    """

    def test_after_success_only_what_always_runs(self):
        run = Run(self.BOTH)
        run.done("a")
        assert run.done("b") == ["skip sorry", "skip tell by sorry", "start end.1"]
        assert run.done("end") == ["finish succeeded"]

    def test_after_a_failure_both_handlers(self):
        run = Run(self.BOTH)
        assert run.fails("a") == ["retry a at 0", "start a.2"]
        assert run.fails("a") == ["fail a", "block b by a", "start sorry.1", "start end.1"]
        run.done("end")
        assert run.done("sorry") == ["start tell.1"]
        assert run.done("tell") == ["finish failed"]

    def test_a_handler_that_needs_the_result_of_what_failed_is_skipped(self):
        run = Run("a\nend < a  after=a trigger=always\nnext < end  after=a trigger=always")
        assert run.fails("a") == ["fail a", "skip end by a", "skip next by a", "finish failed"]
        run = Run("a\nend < a  after=a trigger=always")
        assert run.done("a") == ["start end.1"]

    def test_handlers_of_a_skipped_node_are_for_its_end_but_no_failure(self):
        run = Run(
            "f\nb control=branch < f\na when=b\nsorry after=a trigger=failure\nend after=a trigger=always"
        )
        run.done("f")
        assert run.knows("b", False) == ["skip a by b", "skip sorry", "start end.1"]

    def test_after_a_cancellation_only_what_always_runs(self):
        run = Run(self.BOTH)
        assert run.cancel() == ["kill a.1 cancelled", "cancel b", "cancel sorry", "cancel tell"]
        assert run.fails("a", "FR202") == ["cancel a", "start end.1"]
        assert run.wake(GRACE_MS) == []
        assert run.done("end") == ["finish cancelled"]

    def test_with_its_retries(self):
        run = Run("a\nend after=a trigger=always retries=1 backoff=7")
        run.cancel()
        run.fails("a")
        assert run.fails("end") == ["retry end at 7"]
        assert run.wake(7) == ["start end.2"]
        assert run.fails("end") == ["fail end", "finish cancelled"]

    def test_handlers_wait_for_all_that_is_still_running(self):
        run = Run("l\nr\nj < l r\nsorry after=j trigger=failure\nend after=j trigger=always", on=WIDE)
        assert run.fails("l") == ["fail l", "block j by l"]
        assert run.done("r") == ["start sorry.1", "start end.1"]

    def test_be_it_in_a_loop(self):
        run = Run("items\nm control=map < items\nend after=m trigger=always", on=WIDE)
        run.done("items")
        run.knows("m", 3)
        assert run.fails("m[0]") == ["fail m[0]", "block m by m[0]"]
        run.done("m[1]")
        assert run.done("m[2]") == ["start end.1"]

    def test_a_failure_that_a_choice_can_do_without_is_none_of_the_choice(self):
        run = Run(
            "f\nx\ny\nb control=branch < f\nc control=choose < b x y\nsorry after=c trigger=failure", on=WIDE
        )
        run.done("f")
        run.knows("b", False)
        run.fails("x")
        assert run.done("y") == ["skip sorry", "finish failed"]

    def test_a_second_cancellation_ends_that_too(self):
        run = Run(self.BOTH)
        run.cancel()
        run.fails("a")
        assert run.cancel() == ["kill end.1 cancelled by force"]
        assert run.fails("end", "FR202") == ["cancel end", "finish cancelled"]
        run = Run(self.BOTH)
        run.cancel()
        assert run.cancel() == ["kill a.1 cancelled by force", "cancel end"]
        assert run.fails("a") == ["cancel a", "finish cancelled"]

    def test_a_branch_and_a_loop_in_a_handler_go_on_in_a_cancelled_run(self):
        run = Run(
            """
            a
            b control=branch < flag  after=a trigger=always
            x when=b after=a trigger=always
            c control=choose < b x  after=a trigger=always
            m control=map < flag  after=a trigger=always
            r control=reduce < m  after=a trigger=always
            """.replace("< flag", 'condition={"input":"flag"}', 1).replace("< flag", "item=[1,2]"),
            on=WIDE,
        )
        run.cancel()
        assert run.fails("a") == ["cancel a", "resolve b", "resolve m"]
        assert run.knows("b", True) == ["start x.1"]
        assert run.knows("m", 2) == ["start m[0].1", "start m[1].1"]
        run.done("x")
        run.done("m[0]")
        assert run.done("m[1]") == ["resolve r"]
        assert run.knows("r", 2) == ["start r[0.0].1"]
        assert run.done("r[0.0]") == ["finish cancelled"]

    def test_one_node_of_a_loop_in_a_handler_that_fails_does_not_block_the_run_for_ever(self):
        run = Run(
            "a\nm control=map item=[1,2] after=a trigger=failure\nz < m  after=a trigger=failure", on=WIDE
        )
        assert run.fails("a") == ["fail a", "resolve m"]
        assert run.knows("m", 2) == ["start m[0].1", "start m[1].1"]
        assert run.fails("m[0]") == ["fail m[0]", "skip m by m[0]", "skip z by m[0]"]
        assert run.done("m[1]") == ["finish failed"]


class TestCancelling:
    @pytest.mark.parametrize("answer", [True, UNFIT])
    def test_an_answer_that_comes_too_late_changes_nothing(self, answer):
        run = Run(IF)
        run.done("flag")
        assert run.cancel()[:2] == ["cancel big", "cancel this"]
        assert run.knows("big", answer) == []
        assert run.state.unfinished == 0
        assert run.states() == {"succeeded": "flag", "cancelled": "big this that either use"}

    def test_a_loop_that_waits_for_its_length_and_one_that_has_nodes(self):
        run = Run("items\nm control=map < items\nn control=map < items", on=host(cpus=1))
        run.done("items")
        run.knows("m", 2)
        assert run.cancel() == ["kill m[0].1 cancelled", "cancel m", "cancel n", "cancel m[1]"]
        assert run.knows("n", 5) == []
        assert run.fails("m[0]") == ["cancel m[0]", "finish cancelled"]


class TestResuming:
    """What is carried over from a run to the next execution of it."""

    @staticmethod
    def resumed(run, text=None, sound=lambda artifact: True):
        again = plan(text) if text else run.plan
        earlier = carry_over(run.state, State(again, {}), sound)
        return Run(again, on=WIDE, earlier=earlier)

    LOOP = "items\nm control=map < items\nuse < m"

    def interrupted(self):
        run = Run(self.LOOP, on=WIDE)
        run.done("items")
        run.knows("m", 3)
        run.done("m[0]")
        run.fails("m[1]")
        return run

    def test_a_loop_keeps_the_items_that_are_done(self):
        run = self.resumed(self.interrupted())
        assert run.opened == ["resolve m"]
        assert run.knows("m", 3) == ["start m[1].2", "start m[2].2"]
        assert run["m[0]"].kept
        run.done("m[1]")
        assert run.done("m[2]") == ["start use.1"]

    def test_but_not_if_the_operator_changed_or_the_artifact_is_gone(self):
        run = self.resumed(self.interrupted(), self.LOOP.replace("control=map", "control=map code=new"))
        assert run.knows("m", 3) == ["start m[0].2", "start m[1].2", "start m[2].2"]
        run = self.resumed(self.interrupted(), sound=lambda artifact: artifact != Artifact("a" * 64, 10))
        assert run.opened == ["start items.2"]

    def test_nor_those_with_cache_off(self):
        run = self.resumed(self.interrupted(), self.LOOP.replace("control=map", "control=map cache=0"))
        assert run.knows("m", 1) == ["start m[0].2"]

    def test_a_loop_that_is_not_reached_again_loses_nothing(self):
        """The first resumption ends before the loop unfolds; the second still knows."""
        first = self.resumed(self.interrupted(), "items code=new\nm control=map < items\nuse < m")
        assert first.opened == ["start items.2"]
        second = self.resumed(first, self.LOOP)
        assert second.opened == ["start items.3"]
        second.done("items")
        assert second.knows("m", 3) == ["start m[1].2", "start m[2].2"]

    def test_a_loop_all_of_whose_nodes_are_kept_is_done(self):
        before = Run(self.LOOP, on=WIDE)
        before.done("items")
        before.knows("m", 2)
        before.done("m[0]")
        before.done("m[1]")
        run = self.resumed(before)
        assert run.knows("m", 2) == ["start use.2"]

    def test_nodes_of_a_loop_that_is_gone_are_forgotten(self):
        assert carry_over(self.interrupted().state, State(plan("items"), {}), lambda _: True).keys() == {
            "items"
        }

    def test_a_reduction_keeps_the_calls_that_are_done(self):
        before = Run("items\nr control=reduce < items", on=WIDE)
        before.done("items")
        before.knows("r", 4)
        before.done("r[0.0]")
        run = self.resumed(before)
        assert run.knows("r", 4) == ["start r[0.1].2"]
        assert run.done("r[0.1]") == ["start r[1.0].1"]

    @pytest.mark.parametrize("holds", [True, False])
    def test_what_a_branch_did_counts_only_when_it_is_taken_again(self, holds):
        before = Run(IF)
        before.done("flag")
        before.knows("big", True)
        before.done("this")
        before.cancel()
        run = self.resumed(before)
        assert run.opened == ["resolve big"]
        if holds:
            assert run.knows("big", True) == ["skip that by big", "start use.2"]
            assert run["this"].kept
        else:
            assert run.knows("big", False) == ["skip this by big", "start that.1"]

    def test_and_if_the_run_ends_before_that_it_counts_the_next_time(self):
        before = Run(IF)
        before.done("flag")
        before.knows("big", True)
        before.done("this")
        between = self.resumed(before)
        run = self.resumed(between)
        assert run.knows("big", True) == ["skip that by big", "start use.2"]

    def test_handlers_run_at_every_end(self):
        before = Run(TestAtTheEnd.BOTH, on=WIDE)
        before.fails("a")
        before.fails("a")
        before.done("sorry")
        before.done("end")
        run = self.resumed(before)
        assert run.opened == ["start a.3"]
        run.done("a")
        assert run.done("b") == ["skip sorry", "skip tell by sorry", "start end.2"]
