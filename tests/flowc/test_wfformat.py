"""Recorded workflows of every version become plans; other files are refused."""

# ruff: noqa: E501 - a task a line

import copy
import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowc.plan.codec import decode, encode
from flowc.plan.diagnostics import Refused
from flowc.plan.model import Resources
from flowc.wfformat import Task, import_workflow, kind_of, plan_of, read_tasks, tasks_of

# One workflow, as it is written in 1.5, in 1.4, in 1.2, and reduced. Its tasks stand in no order.
SPECIFIED = [
    {"name": "merge", "id": "merge_3", "parents": ["map_1", "map_2"], "children": [], "outputFiles": []},
    {"name": "map", "id": "map_1", "parents": [], "children": ["merge_3"], "outputFiles": ["a", "b"]},
    {"name": "map", "id": "map_2", "parents": [], "children": ["merge_3"]},
]
MEASURED = [
    {"id": "map_1", "runtimeInSeconds": 2.5, "coreCount": 2, "memoryInBytes": 3 * 2**20},
    {"id": "map_2", "runtimeInSeconds": 1, "memoryInBytes": 3 * 2**20 + 1},
    {"id": "merge_3", "runtimeInSeconds": 0.5, "command": {"program": "/bin/cat", "arguments": ["x"]}},
]
FILES = [{"id": "a", "sizeInBytes": 10}, {"id": "b", "sizeInBytes": 5}]
V15 = {
    "name": "w",
    "schemaVersion": "1.5",
    "workflow": {
        "specification": {"tasks": SPECIFIED, "files": FILES},
        "execution": {"makespanInSeconds": 3, "tasks": MEASURED},
    },
}
V14 = {
    "schemaVersion": "1.4",
    "workflow": {
        "tasks": [
            {"name": "x", "id": "merge_3", "category": "merge", "runtimeInSeconds": 0.5, "parents": ["map_1", "map_2"]},
            {"name": "y", "id": "map_1", "category": "map", "runtimeInSeconds": 2.5, "parents": [], "cores": 2, "memoryInBytes": 3 * 2**20,
             "files": [{"link": "output", "name": "a", "sizeInBytes": 15}, {"link": "input", "name": "i", "sizeInBytes": 7}]},
            {"name": "z", "id": "map_2", "category": "map", "runtimeInSeconds": 1, "memoryInBytes": 3 * 2**20 + 1},
        ]
    },
}  # fmt: skip
V12 = {
    "schemaVersion": "1.2",
    "workflow": {
        "jobs": [
            {"name": "merge_3", "runtime": 0.5, "parents": ["map_1", "map_2"]},
            {"name": "map_1", "runtime": 2.5, "parents": [], "cores": 2, "memory": 3 * 2**10, "files": [{"link": "output", "name": "a", "size": 15}]},
            {"name": "map_2", "runtime": 1, "memory": 3 * 2**10 + 1 / 2**10},
        ]
    },
}  # fmt: skip
REDUCED = {
    "tasks": [
        {"id": "merge_3", "name": "merge_3", "rt": 0.5, "cores": None, "mem": None, "par": [1, 2], "out": 0},
        {"id": "map_1", "name": "map_1", "rt": 2.5, "cores": 2, "mem": 3 * 2**20, "par": [], "out": 15},
        {"id": "map_2", "name": "map_2", "rt": 1, "cores": None, "mem": 3 * 2**20 + 1, "par": []},
    ]
}
TASKS = [
    Task("merge_3", "merge", 0.5, (1, 2)),
    Task("map_1", "map", 2.5, (), 2, 3 * 2**20, 15),
    Task("map_2", "map", 1, (), 0, 3 * 2**20 + 1),
]


@pytest.mark.parametrize("data", [V15, V14, V12, REDUCED], ids=["1.5", "1.4", "1.2", "reduced"])
def test_every_version_tells_the_same_tasks(data):
    assert tasks_of(data, "w.json") == TASKS


def test_the_plan_has_a_site_a_kind_and_a_node_a_task():
    plan = plan_of(TASKS, "w.json")
    assert plan.header.workflow == "wfformat:w"
    assert [(site.site, site.needs) for site in plan.sites] == [
        ("map", Resources(2, 4)),  # the most that any of its tasks held
        ("merge", Resources(1)),
    ]
    assert {site.op for site in plan.sites} == {"stdlib.replay:task"}
    assert [(node.id, node.args) for node in plan.nodes] == [
        ("map[1]", {"task": "map_1", "runtime_s": 2.5, "output_bytes": 15, "speed": {"input": "speed"}}),
        ("map[2]", {"task": "map_2", "runtime_s": 1, "speed": {"input": "speed"}}),
        (
            "merge[3]",
            {
                "task": "merge_3",
                "runtime_s": 0.5,
                "parents": [{"from": "map[1]"}, {"from": "map[2]"}],
                "speed": {"input": "speed"},
            },
        ),
    ]
    assert [(level.nodes, level.sites) for level in plan.levels] == [(2, ("map",)), (1, ("merge",))]
    assert decode(encode(plan), "p") == plan


def test_a_file_may_be_compressed_and_its_name_does_not_matter(tmp_path):
    (tmp_path / "w.json").write_text(json.dumps(V15))
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "w.json.gz").write_bytes(gzip.compress(json.dumps(V14).encode()))
    plain, compressed = (import_workflow(tmp_path / name) for name in ("w.json", "deeper/w.json.gz"))
    assert plain.nodes == compressed.nodes
    assert plain.header == compressed.header
    assert str(tmp_path).encode() not in encode(plain)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("blastall_ID000002", "blastall"),
        ("cat_blast_00000104", "cat_blast"),
        ("map_map_chr21_s_1_ID0000007", "map"),
        ("fastqSplit_fastqSplit_080603_ID1", "fastqSplit"),
        ("MERGE_BOWTIE2_14", "MERGE_BOWTIE2"),
        ("bowtie2", "bowtie2"),
        ("chr21", "chr21"),
        ("NF.FASTQC", "NF.FASTQC"),
    ],
)
def test_the_kind_of_a_task_is_its_name_without_its_number(name, kind):
    assert kind_of(name) == kind


def test_ids_hold_what_ids_may_hold_and_are_told_apart():
    tasks = [
        Task("a b/1", "a b", 0),
        Task("a_b_x", "a b", 0),
        Task("x" * 99 + "1", "k", 0),
        Task("x" * 99 + "2", "k", 0),
        Task("k", "k", 0),
        Task("k_[1,2]#3", "k", 0),
    ]
    plan = plan_of(tasks, "ü:w x.json")
    assert plan.header.workflow == "wfformat:ü_w_x"
    assert [node.id for node in plan.nodes] == [
        "a_b[a_b_1]", "a_b[a_b_x]", f"k[{'x' * 64}]", f"k[{'x' * 64}]#2", "k", "k[_1_2__3]",
    ]  # fmt: skip
    assert decode(encode(plan), "p") == plan


def refused(data, tmp_path):
    path = tmp_path / "w.json"
    path.write_bytes(data if isinstance(data, bytes) else json.dumps(data).encode())
    with pytest.raises(Refused) as refusal:
        import_workflow(path)
    return [f"{d.code} {d.message}" for d in refusal.value.diagnostics]


NO_WORKFLOW = "FC240 `w.json` is not a workflow in WfFormat: "


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "Input data was truncated"),
        (b"\xff", "JSON is malformed: invalid character (byte 0)"),
        (b"\x1f\x8b junk", None),
        (gzip.compress(b"{}", mtime=0)[:-4], None),
        (b"[" * 100_000, None),
        ([], "no list of tasks, which a recorded workflow has"),
        ({"workflow": 3}, None),
        ({"workflow": {"jobs": []}}, "it has no tasks"),
        ({"tasks": [3]}, None),
        (
            {"workflow": {"specification": {"tasks": SPECIFIED}}},
            "no list of tasks, which a recorded workflow has",
        ),
        (
            {"workflow": {**V15["workflow"], "specification": {"tasks": SPECIFIED, "files": [{"id": 3}]}}},
            None,
        ),
        (
            {
                "workflow": {
                    **V15["workflow"],
                    "specification": {"tasks": [{"id": ["a"], "outputFiles": [[]]}]},
                }
            },
            None,
        ),
        ({"tasks": []}, "it has no tasks"),
        ({"tasks": [{"id": "a"}]}, "Object missing required field `runtime_s` in task 1"),
        ({"tasks": [{"id": "a", "rt": "1"}]}, "Expected `float`, got `str` - at `$.runtime_s` in task 1"),
        ({"tasks": [{"id": "a", "rt": -1}]}, "Expected `float` >= 0.0 - at `$.runtime_s` in task 1"),
        ({"tasks": [{"id": "a", "rt": 1, "par": {}}]}, None),
        ({"tasks": [{"id": "a", "rt": 1, "files": 3}]}, None),
        ({"tasks": [{"id": "a", "rt": 1, "memory": []}]}, None),
        ({"tasks": [{"id": "a", "rt": 1, "command": {"program": 1}}]}, None),
        ({"tasks": [{"id": "", "rt": 1}]}, None),
    ],
)
def test_what_is_no_recorded_workflow_is_refused(data, reason, tmp_path):
    (said,) = refused(data, tmp_path)
    assert said.startswith("FC240 ")
    assert reason is None or said == NO_WORKFLOW + reason


def test_parents_that_are_not_there_are_all_told(tmp_path):
    tasks = [{"id": "a", "rt": 1, "par": ["b", 7]}, {"id": "c", "rt": 1, "par": ["a"]}]
    assert refused({"tasks": tasks}, tmp_path) == [
        "FC241 the task `a` of `w.json` has a parent that is not there: `b`",
        "FC241 the task `a` of `w.json` has a parent that is not there: `7`",
    ]
    assert refused({"tasks": [{"id": "a", "rt": 1}] * 2}, tmp_path) == [
        "FC241 `w.json` has two tasks with the id `a`"
    ]


def test_circles_are_all_told(tmp_path):
    parents = {"a": ["b"], "b": ["a"], "c": ["c"], "d": ["a"]}
    tasks = [{"id": task, "rt": 1, "par": par} for task, par in parents.items()]
    assert refused({"tasks": tasks}, tmp_path) == [
        "FC206 tasks of `w.json` wait for each other in a circle: `a` -> `b` -> `a`",
        "FC206 tasks of `w.json` wait for each other in a circle: `c` -> `c`",
    ]


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(Refused, match=r"FC240.*No such file"):
        read_tasks(tmp_path / "none.json")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 3) | st.just(2**70) | st.floats(allow_nan=False) | st.sampled_from(["", "map_1", "a/b[c]#2"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from(["id", "program", "link", "sizeInBytes"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def places(value, path=()):
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


@given(st.sampled_from([V15, V14, V12, REDUCED]), st.lists(st.tuples(st.integers(0, 200), JSON), max_size=3))
def test_a_damaged_file_gives_a_plan_or_diagnostics(data, changes):
    data = copy.deepcopy(data)
    for at, value in changes:
        paths = list(places(data))[1:]
        *way, key = paths[at % len(paths)] if paths else [0]
        part = data
        for step in way:
            part = part[step]
        if paths:
            part[key] = value
    try:
        plan = plan_of(tasks_of(data, "w.json"), "w.json")
    except Refused as refusal:
        codes = {d.code for d in refusal.diagnostics}
    else:
        codes = set()
        assert decode(encode(plan), "p") == plan
    assert codes <= {"FC206", "FC240", "FC241"}
