"""Graphs that no one here drew, read from the files that they were published in.

They lie outside the repository, in the folder that the environment variable `FLOW_DATA` names (default
`../shared/data` beside the checkout); its README says where they come from. Benchmarks and tests share this.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flowc.plan.graph import dependencies, levels
from flowc.plan.model import FORMAT, Header, Node, Plan, Site, Span

ROOT = Path(__file__).parent.parent


class Graph(NamedTuple):
    """A DAG: for each node the nodes that it waits for, all of them earlier; and for each node its kind."""

    name: str
    waits_for: list[list[int]]
    kinds: list[str]


def data_folder() -> Path:
    """Where the published data should lie; whether it does is for the caller to see."""
    return Path(os.environ.get("FLOW_DATA") or ROOT.parent / "shared" / "data")


def read_aiger(path: Path) -> Graph:
    """A combinational circuit in the binary AIGER format: inputs, and the AND gates that follow from them.

    A file is a line `aig M I L O A` (most variable, inputs, latches, outputs, gates), a line for each output,
    then each gate as two differences to the literal before, 7 bits a byte. A literal is twice its variable,
    odd if it is negated. `ValueError` if it is no such file, or has latches or constant gates.
    """
    data = path.read_bytes()
    header = data.partition(b"\n")[0]
    magic, *counts = header.split()
    most, inputs, latches, outputs, gates = map(int, counts[:5])
    if magic != b"aig" or latches or len(counts) > 5 or most != inputs + gates:
        raise ValueError(f"{path} is no combinational circuit in binary AIGER format")
    at = len(header) + 1
    for _ in range(outputs):
        at = data.index(b"\n", at) + 1
    waits_for: list[list[int]] = [[] for _ in range(inputs)]
    for gate in range(gates):
        literal = 2 * (inputs + gate + 1)
        sources = []
        for _ in range(2):
            shift = delta = 0
            while data[at] & 0x80:
                delta |= (data[at] & 0x7F) << shift
                shift, at = shift + 7, at + 1
            delta |= data[at] << shift
            at += 1
            literal -= delta
            if literal < 2:
                raise ValueError(f"{path}: gate {gate} has a constant input")
            sources.append(literal // 2 - 1)
        waits_for.append(sorted(set(sources)))
    return Graph(path.stem, waits_for, ["input"] * inputs + ["gate"] * gates)


def read_commits(path: Path) -> Graph:
    """The commits of a git repository with their parents, as JSON, oldest first."""
    parents = _json(path)["parents"]
    return Graph(path.name.partition(".")[0], [sorted(p) for p in parents], ["commit"] * len(parents))


def read_packages(path: Path) -> Graph:
    """The packages of a Linux distribution and what they need, as JSON: edges from needed to user."""
    data = _json(path)
    waits_for: list[list[int]] = [[] for _ in data["names"]]
    for source, user in data["edges_from_to"]:
        waits_for[user].append(source)
    return Graph(path.name.partition(".")[0], [sorted(w) for w in waits_for], ["package"] * len(waits_for))


# Each published graph: file, reader.
FILES: dict[str, Callable[[Path], Graph]] = {
    "log2.aig": read_aiger,
    "mem_ctrl.aig": read_aiger,
    "jax_commit_dag.json.gz": read_commits,
    "debian_bookworm_dag.json.gz": read_packages,
}


def plan_of(graph: Graph) -> Plan:
    """A plan with the nodes and edges of a graph; its operators are names only."""
    kinds = list(dict.fromkeys(graph.kinds))
    ids = [f"{kind}[{i}]" for i, kind in enumerate(graph.kinds)]
    nodes = tuple(
        Node(ids[i], {"of": [{"from": ids[s]} for s in sources]} if sources else {})
        for i, sources in enumerate(graph.waits_for)
    )
    return Plan(
        Header(FORMAT, f"graphs:{graph.name}"),
        sites=tuple(Site(kind, f"graphs:{kind}", "0" * 16, {"of": "list"}) for kind in kinds),
        nodes=nodes,
        levels=levels(nodes, dependencies(nodes)),
        spans=tuple(Span(kind, "graphs.py:1:1") for kind in kinds),
    )


def _json(path: Path) -> Any:
    with gzip.open(path, "rb") as file:
        return json.load(file)
