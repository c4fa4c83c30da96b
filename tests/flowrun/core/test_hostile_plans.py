"""Plans that no compiler wrote, but that the reader lets pass: the scheduler comes to an end with them."""

import json
from pathlib import Path

import msgspec
from graphs import host
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowc.plan.codec import decode
from flowc.plan.diagnostics import Refused
from flowc.plan.graph import dependencies, levels
from flowc.plan.model import Node
from flowrun.core.changes import Exited, Opened, Resolve, Resolved, Start
from flowrun.core.control import flat
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Failure
from flowrun.core.state import State

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[2] / "golden" / "control.plan.jsonl").read_text().splitlines()
]
NODES = [i for i, row in enumerate(ROWS) if row["kind"] == "node"]
IDS = [ROWS[i]["id"] for i in NODES]
names = st.lists(st.sampled_from(IDS), max_size=2, unique=True)
trees = st.sampled_from(
    [{"from": node} for node in IDS] + [{"from": node, "at": ["x", 0]} for node in IDS] + [[], 1.5]
)
changes = st.one_of(
    st.tuples(st.sampled_from(["after", "when", "unless"]), names),
    st.tuples(st.just("trigger"), st.sampled_from(["success", "failure", "always"])),
    st.tuples(st.sampled_from(["condition", "then", "otherwise", "region", "items", "total", "text"]), trees),
)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much], max_examples=300)
@given(st.lists(st.tuples(st.sampled_from(NODES), changes), max_size=6), st.randoms(use_true_random=False))
def test_a_run_of_one_ends(edits, random):
    rows = [{**row, "args": dict(row["args"])} if "args" in row else dict(row) for row in ROWS]
    for i, (member, value) in edits:
        target = rows[i] if member in ("after", "when", "unless", "trigger") else rows[i]["args"]
        target[member] = value
    # The levels that the edited nodes have; and types that let anything pass.
    for row in rows:
        if row["kind"] == "site":
            kept = ("condition", "items", "region")
            row["takes"] = {name: of if name in kept else "Any" for name, of in row["takes"].items()}
            row["gives"] = "Any"
    plan = _read(rows)
    if plan is None:
        return
    inputs = {"path": "p", "quick": True}
    state = State(plan, inputs)
    todo = decide(state, Opened(0, "plan", inputs, host(cpus=100, gpus=[16000, 16000])))
    for _ in range(500):
        commands = [command for command in todo if isinstance(command, (Start, Resolve))]
        todo = []
        for command in commands:
            todo += decide(state, _event(state, command, random))
        if state.status != "running":
            break
    assert state.status != "running", [(t.node.id, t.state) for t in state.tasks]


def _event(state, command, random):
    failure = Failure("FR201", "it broke") if random.random() < 0.1 else None
    if isinstance(command, Resolve):
        args = state.by_id[command.node].node.args
        items = flat(args.get("region", args.get("items")), state.results)
        count = len(items) if isinstance(items, list) else random.randrange(4)
        names = tuple(map(str, range(count)))
        if not names and "items" in args and "initial" not in args:
            failure = Failure("FR208", "there are no items")
        return Resolved(1, command.node, names, random.random() < 0.5, failure)
    artifact = None if failure else Artifact("a" * 64, 10)
    return Exited(1, command.node, command.attempt, artifact, failure)


def _read(rows):
    """The plan, with its levels put right; `None` if it is refused for something else."""
    nodes = [msgspec.convert(row, Node) for row in rows if row["kind"] == "node"]
    try:
        found = levels(nodes, dependencies(nodes))
    except (IndexError, KeyError):
        return None
    fixed = [msgspec.to_builtins(level) for level in found]
    rows = [row for row in rows if row["kind"] != "level"] + fixed
    data = "".join(json.dumps(row) + "\n" for row in rows).encode()
    try:
        return decode(data, "p")
    except Refused:
        return None
