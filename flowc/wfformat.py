"""Recorded workflows as plans: WfFormat, the JSON of WfCommons (https://wfcommons.org).

A plan gets a site for each kind of task, needing the most that any task of the kind held, and a node for each
task. What a task took stays in its arguments, as literals: for the operator, which sleeps as long, and for
whoever estimates what nodes cost.

Read is the published format from 1.0 to 1.6 (a workflow's tasks lie in `specification` and `execution`,
until 1.4 in `tasks` or `jobs`), and a reduced form: `tasks`, each with `id`, `name`, `rt`, `cores`, `mem`,
`out`, and in `par` the indexes of its parents.
"""

from __future__ import annotations

import gzip
import heapq
import importlib
import math
import re
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, NoReturn

import msgspec

from flowc.lang import Workflow
from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowc.plan.graph import circles, dependencies, dependents, levels
from flowc.plan.model import FORMAT, Header, Input, Node, Plan, Resources, Site, Span
from flowc.trace import trace

REPLAY = "stdlib.replay:task"  # loaded by name, as the operators of a workflow are: flowc knows no operators

_BYTES_PER_MB = 2**20
_MOST_KEY = 64  # characters, as of the loop keys that the compiler writes
_Measure = Annotated[float, msgspec.Meta(ge=0, le=2.0**53)]  # sums of these fit the integers of a plan


class Task(msgspec.Struct, frozen=True):
    """A recorded task. `parents` are indexes of tasks, ascending; 0 where nothing was recorded."""

    id: str
    kind: str
    runtime_s: float
    parents: tuple[int, ...] = ()
    cores: float = 0
    memory_bytes: float = 0
    output_bytes: int = 0


class _File(msgspec.Struct, frozen=True):
    """A file that a task reads or writes: until 1.4 listed with the task, since then by id."""

    id: str = ""
    link: str = ""
    sizeInBytes: _Measure = 0  # noqa: N815 - the format's name
    size: _Measure = 0  # until 1.3


class _Command(msgspec.Struct, frozen=True):
    program: str = ""


class _Entry(msgspec.Struct, frozen=True):
    """A task of a file, whatever the version calls its members."""

    id: Annotated[str, msgspec.Meta(min_length=1)]
    runtime_s: _Measure
    name: str = ""
    category: str = ""
    command: _Command = _Command()
    parents: tuple[str | int, ...] = ()  # ids, names or indexes
    cores: _Measure = 0
    memory_bytes: _Measure = 0
    memory_kb: _Measure = 0
    output_bytes: _Measure = 0
    output_ids: tuple[str, ...] = ()
    files: tuple[_File, ...] = ()


# For each member of an entry its names in the versions, newest first.
_NAMES = {
    "id": ("id", "name"),
    "name": ("name",),
    "category": ("category",),
    "command": ("command",),
    "runtime_s": ("runtimeInSeconds", "runtime", "rt"),
    "parents": ("parents", "par"),
    "cores": ("coreCount", "cores"),
    "memory_bytes": ("memoryInBytes", "mem"),
    "memory_kb": ("memory",),
    "output_bytes": ("out",),
    "output_ids": ("outputFiles",),
    "files": ("files",),
}


def import_workflow(path: Path) -> Plan:
    """The plan of a recorded workflow, .json or .json.gz; `Refused` (FC206, FC240, FC241) if it has none."""
    return plan_of(read_tasks(path), path.name)


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a file, in its order."""
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
        return tasks_of(msgspec.json.decode(data), path.name)
    except OSError as error:  # also what is no gzip
        refuse("FC240", f"cannot read `{path}`: {error.strerror or error}")
    except (EOFError, zlib.error, ValueError, RecursionError) as error:
        _malformed(path.name, str(error))


def tasks_of(data: Any, file: str) -> list[Task]:
    """The tasks of a decoded file, which diagnostics call `file`."""
    try:
        raw_tasks, sizes = _raw_tasks(data)
    except (msgspec.ValidationError, LookupError) as error:
        _malformed(file, str(error.args[0]))
    if not raw_tasks:
        _malformed(file, "it has no tasks")
    entries: list[_Entry] = []
    for i, raw in enumerate(raw_tasks):
        try:
            entries.append(msgspec.convert(_renamed(raw), _Entry))
        except msgspec.ValidationError as error:
            _malformed(file, f"{error} in task {i + 1}")
    number = _numbers(entries, file)
    return [
        Task(
            entry.id,
            entry.category or kind_of(entry.name or entry.id) or entry.command.program or "task",
            entry.runtime_s,
            tuple(sorted({number[parent] for parent in entry.parents})),
            entry.cores,
            entry.memory_bytes or entry.memory_kb * 1024,
            int(_written(entry, sizes)),
        )
        for entry in entries
    ]


def kind_of(name: str) -> str:
    """The kind of a task of some name: `blastall_ID000002` is a `blastall`, `map_map_chr21_7` a `map`.

    Workflow systems number tasks. Pegasus writes the program before the name that the user gave, and users
    tend to begin it with the program; it is the part that is there twice.
    """
    base = re.sub(r"_(?:ID)?\d+$", "", name)
    doubled = re.match(r"(.+?)_\1(?:_|$)", base)
    return doubled[1] if doubled else base


def plan_of(tasks: Sequence[Task], file: str) -> Plan:
    """The plan of recorded tasks; `file` names their origin."""
    order = _in_order(tasks, file)
    site_of = {task.kind: _part_of_id(task.kind) for task in tasks}
    ids = [""] * len(tasks)
    times: dict[str, int] = {}
    for i in order:
        kind = tasks[i].kind
        key = _part_of_id(tasks[i].id.removeprefix(f"{kind}_"))[:_MOST_KEY]
        node_id = site_of[kind] if tasks[i].id == kind else f"{site_of[kind]}[{key}]"
        times[node_id] = times.get(node_id, 0) + 1
        ids[i] = node_id if times[node_id] == 1 else f"{node_id}#{times[node_id]}"
    sites = list(dict.fromkeys(site_of[tasks[i].kind] for i in order))
    name = _part_of_id(file.removesuffix(".gz").removesuffix(".json"))
    call = _call_of_replay()  # types and whatever else the compiler writes of an operator
    plan = msgspec.structs.replace(
        call,
        header=Header(FORMAT, f"wfformat:{name}", inputs={"speed": Input("float", 1.0)}),
        sites=tuple(_site(site, tasks, site_of, call.sites[0]) for site in sites),
        nodes=tuple(_node(tasks[i], ids[i], [ids[parent] for parent in tasks[i].parents]) for i in order),
        spans=tuple(Span(site, _part_of_id(file)) for site in sites),
    )
    return msgspec.structs.replace(plan, levels=levels(plan.nodes, dependencies(plan.nodes)))


def _raw_tasks(data: Any) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The tasks as they are written, and the sizes of files by their ids; `LookupError` if there are none.

    Since 1.5 what is specified of a task and what was measured stand apart.
    """
    workflow = data.get("workflow", data) if isinstance(data, dict) else {}
    if not isinstance(workflow, dict) or "specification" not in workflow:
        return _listed(workflow, "jobs" if isinstance(workflow, dict) and "jobs" in workflow else "tasks"), {}
    specification = workflow["specification"]
    tasks = _listed(specification, "tasks")
    measured = {str(raw.get("id")): raw for raw in _listed(workflow.get("execution"), "tasks")}
    files = _listed(specification, "files") if "files" in specification else []
    sizes = {file.id: file.sizeInBytes for file in msgspec.convert(files, list[_File])}
    return [{**raw, **measured.get(str(raw.get("id")), {})} for raw in tasks], sizes


def _listed(part: Any, name: str) -> list[dict[str, Any]]:
    """A list of objects in an object."""
    found = part.get(name) if isinstance(part, dict) else None
    if not isinstance(found, list) or not all(isinstance(raw, dict) for raw in found):
        raise LookupError(f"no list of {name}, which a recorded workflow has")
    return found


def _renamed(raw: Mapping[str, Any]) -> dict[str, Any]:
    """A task's members under one name each; those that are missing or null are left out."""
    found = (
        (member, next((raw[n] for n in names if raw.get(n) is not None), None))
        for member, names in _NAMES.items()
    )
    return {member: value for member, value in found if value is not None}


def _numbers(entries: Sequence[_Entry], file: str) -> dict[str | int, int]:
    """The index of each task by all that a parent may be called by; every parent is one of them."""
    number: dict[str | int, int] = {i: i for i in range(len(entries))}
    number |= {entry.name: i for i, entry in enumerate(entries)}  # as parents were named until 1.3
    number |= {entry.id: i for i, entry in enumerate(entries)}
    problems = [
        f"`{file}` has two tasks with the id `{entry.id}`"
        for i, entry in enumerate(entries)
        if number[entry.id] != i
    ] + [
        f"the task `{entry.id}` of `{file}` has a parent that is not there: `{parent}`"
        for entry in entries
        for parent in entry.parents
        if parent not in number
    ]
    if problems:
        raise Refused(*(Diagnostic("FC241", problem) for problem in problems))
    return number


def _written(entry: _Entry, sizes: Mapping[str, float]) -> float:
    """The bytes that a task wrote, as far as any version tells."""
    listed = sum(file.sizeInBytes or file.size for file in entry.files if file.link == "output")
    return entry.output_bytes or listed or sum(sizes.get(name, 0) for name in entry.output_ids)


def _in_order(tasks: Sequence[Task], file: str) -> list[int]:
    """The tasks' indexes such that each follows its parents, otherwise as in the file."""
    waits_for = [task.parents for task in tasks]
    children, missing = dependents(waits_for), [len(parents) for parents in waits_for]
    ready = [i for i, count in enumerate(missing) if not count]
    order = []
    while ready:
        i = heapq.heappop(ready)
        order.append(i)
        for child in children[i]:
            missing[child] -= 1
            if not missing[child]:
                heapq.heappush(ready, child)
    if len(order) < len(tasks):
        paths = (" -> ".join(f"`{tasks[i].id}`" for i in (*p, p[0])) for p in circles(waits_for).paths)
        said = f"tasks of `{file}` wait for each other in a circle"
        raise Refused(*(Diagnostic("FC206", f"{said}: {path}") for path in paths))
    return order


def _call_of_replay() -> Plan:
    """A traced call of the operator that replays tasks."""
    module, _, name = REPLAY.partition(":")
    task = getattr(importlib.import_module(module), name)

    def replay(speed: float = 1.0) -> None:
        task(task="", runtime_s=0.0, output_bytes=0, parents=[], speed=speed)

    return trace(Workflow(replay)).plan


def _site(site: str, tasks: Sequence[Task], site_of: Mapping[str, str], call: Site) -> Site:
    """The site of all tasks whose kinds are written `site`: it needs the most that any of them held."""
    members = [task for task in tasks if site_of[task.kind] == site]
    cores = max(task.cores for task in members) or 1
    memory = max(task.memory_bytes for task in members)
    needs = Resources(int(cores) if cores == int(cores) else cores, math.ceil(memory / _BYTES_PER_MB))
    return msgspec.structs.replace(call, site=site, needs=needs)


def _node(task: Task, node_id: str, parents: list[str]) -> Node:
    args: dict[str, Any] = {"task": task.id, "runtime_s": task.runtime_s, "speed": {"input": "speed"}}
    if task.output_bytes:
        args["output_bytes"] = task.output_bytes
    if parents:
        args["parents"] = [{"from": parent} for parent in parents]
    return Node(node_id, args)


def _part_of_id(text: str) -> str:
    """A text as it may stand in an id, a workflow's name or a place."""
    return re.sub(r"[^\w.+-]", "_", text)


def _malformed(file: str, reason: str) -> NoReturn:
    hint = "see https://wfcommons.org for the format, and for recorded workflows in it"
    refuse("FC240", f"`{file}` is not a workflow in WfFormat: {reason}", hint=hint)
