"""Plans of graphs that no one here drew: circuits, a repository's history, a distribution's packages.

For each: encoding, decoding with all its checks, showing, dependencies and levels; beside that, networkx's
levels of the same graph. Deepest of all are 29,023 commits in a row. Skips what does not lie in `FLOW_DATA`.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable
from typing import Any

from benchmarks import harness
from benchmarks.graph_files import FILES, Graph, data_folder, plan_of
from flowc.plan.codec import decode, encode
from flowc.plan.graph import dependencies, depths
from flowc.show import show as text_of


def measure(repeats: int) -> dict[str, Any]:
    """Time what is done with the plan of each published graph."""
    gc.disable()  # as `flowc` does: a plan is made of many objects that all stay
    rows = []
    for file, read in FILES.items():
        path = data_folder() / "dag" / file
        if not path.is_file():
            print(f"skipped: there is no {path}; FLOW_DATA names the folder", file=sys.stderr)
            continue
        graph = read(path)
        figures = harness.alternate(_sides(graph), repeats)
        levels = 1 + max(depths(graph.waits_for))
        size = {"nodes": len(graph.waits_for), "edges": sum(map(len, graph.waits_for)), "levels": levels}
        times = {f"{side}_ms": harness.spread(ms) for side, ms in figures.items()}
        rows.append({"graph": graph.name, **size, **times})
    return {"benchmark": "real_graphs", "rows": rows, **harness.machine()}


def show(figures: dict[str, Any]) -> str:
    """The figures as text."""
    lines = ["plans of published graphs, median ms", _LINE.format(*_HEAD)]
    for row in figures["rows"]:
        size = [f"{row[name]:,}" for name in ("nodes", "edges", "levels")]
        times = [
            f"{row[f'{name}_ms']['median']:.0f}"
            for name in ("encode", "decode", "show", "levels", "networkx")
        ]
        lines.append(_LINE.format(row["graph"], *size, *times))
    return "\n".join(lines)


_HEAD = ("graph", "nodes", "edges", "levels", "encode", "decode", "show", "levels", "networkx")
_LINE = "{:<20} {:>7} {:>8} {:>7}  {:>7} {:>7} {:>7} {:>7}  {:>8}"


def _sides(graph: Graph) -> dict[str, Callable[[], float]]:
    plan = plan_of(graph)
    data = encode(plan)
    return {
        "encode": lambda: _ms(lambda: encode(plan)),
        "decode": lambda: _ms(lambda: decode(data, "plan")),
        "show": lambda: _ms(lambda: text_of(plan)),
        "levels": lambda: _ms(lambda: depths(dependencies(plan.nodes))),
        "networkx": lambda: _ms(lambda: _networkx_levels(graph)),
    }


def _ms(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return (time.perf_counter() - began) * 1000


def _networkx_levels(graph: Graph) -> int:
    """What a user would do instead: build the graph and ask for its generations."""
    import networkx as nx

    built: nx.DiGraph[int] = nx.DiGraph()
    built.add_nodes_from(range(len(graph.waits_for)))
    built.add_edges_from((source, i) for i, sources in enumerate(graph.waits_for) for source in sources)
    return sum(1 for _ in nx.topological_generations(built))


if __name__ == "__main__":
    harness.run(measure, show, repeats=3)
