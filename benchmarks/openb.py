"""Pods of Alibaba's openb trace onto its 1,213 hosts with 6,212 GPUs: how much of the GPUs gets allocated.

As in "Beware of Fragmentation: Scheduling GPU-Sharing Workloads with Fragmentation Gradient Descent" (Weng
et al., USENIX ATC 2023): pods are drawn until they ask for 1.3 times the GPUs that there are, come in random
order and never leave; one that fits nowhere is dropped. The figure is the share of the GPUs that is allocated
when the pods that came have asked for all of them; the mean of the seeds.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from benchmarks import harness
from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Gpu, Placement, Rejected
from flowrun.core.pool import Pool
from flowrun.core.pool.hosts import Free, Kind
from flowrun.core.pool.judge import Answer, Judge
from flowrun.core.pool.requests import Request
from flowrun.core.pool.scoring import tightness

GPU = 1000  # a GPU in the trace's units; they stand for its memory here
_INFLATION = 1.3
_FIRST_GUESS = 64  # pods after which those seen are taken for typical; then each time they have doubled


def measure(
    data: str = "../shared/data", workload: str = "default", seeds: int = 10, typical: str = "given"
) -> dict[str, Any]:
    """Place the pods of a workload with the pool that flowrun uses, and with three simple rules."""
    folder = Path(data) / "gpu"
    hosts, pods = _hosts(folder / "openb_node_list_gpu_node.csv.gz"), _pods(folder, workload)
    if typical not in ("given", "seen"):
        sys.exit("--typical is `given` (all pods of the workload) or `seen` (those that came so far)")
    policies: dict[str, Callable[[int], float]] = {
        "random": lambda seed: _replay(hosts, _drawn(pods, hosts, seed), _Any(hosts, random.Random(seed))),
        "first": lambda seed: _replay(hosts, _drawn(pods, hosts, seed), _Any(hosts, None)),
        "formula": lambda seed: _replay(
            hosts, _drawn(pods, hosts, seed), _Ours(hosts, Counter(pods), _ByFormula)
        ),
        "flowrun": lambda seed: _replay(
            hosts,
            _drawn(pods, hosts, seed),
            _Ours(hosts, Counter(pods) if typical == "given" else None),
        ),
    }
    figures: dict[str, Any] = {}
    for name, allocated in policies.items():
        began = time.process_time()
        shares = [allocated(seed) for seed in range(seeds)]
        figures[name] = {
            "allocated_percent": round(statistics.mean(shares), 2),
            "lowest": round(min(shares), 2),
            "highest": round(max(shares), 2),
            "cpu_s_a_seed": round((time.process_time() - began) / seeds, 1),
        }
    published = _published(folder, workload)
    return {
        **harness.machine(),
        "workload": workload,
        "seeds": seeds,
        "typical": typical,
        "policies": figures,
        "published": published,
    }


def show(figures: dict[str, Any]) -> str:
    """A line for each policy, then the published ones."""
    lines = [f"openb, {figures['workload']}, {figures['seeds']} seeds: % of GPUs allocated at 100 % demand"]
    for name, found in figures["policies"].items():
        span = f"{found['lowest']:.2f} to {found['highest']:.2f}"
        lines.append(
            f"  {name:<14}{found['allocated_percent']:6.2f}  ({span}), {found['cpu_s_a_seed']} s CPU a seed"
        )
    lines += [f"  {name:<14}{share:6.2f}  published" for name, share in figures["published"].items()]
    return "\n".join(lines)


def _rows(path: Path) -> list[dict[str, str]]:
    if not path.is_file():
        sys.exit(f"skipped: {path} is not there; `--data DIR` says where the published data lies")
    with gzip.open(path, "rt", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _hosts(path: Path) -> list[Capacity]:
    return [
        Capacity(
            int(row["cpu_milli"]) / 1000,
            int(row["memory_mib"]),
            tuple(Gpu(i, row["model"], GPU) for i in range(int(row["gpu"]))),
        )
        for row in _rows(path)
    ]


def _pods(folder: Path, workload: str) -> list[Resources]:
    return [
        Resources(
            int(row["cpu_milli"]) / 1000,
            int(row["memory_mib"]),
            gpus=int(row["num_gpu"]),
            gpu_memory_mb=int(row["gpu_milli"]) % GPU,
            gpu_models=tuple(sorted(filter(None, row["gpu_spec"].split("|")))) if int(row["num_gpu"]) else (),
        )
        for row in _rows(folder / f"openb_pod_list_{workload}.csv.gz")
    ]


def _published(folder: Path, workload: str) -> dict[str, float]:
    path = folder / "fgd_expected_summary.json"
    found = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    policies = found.get(f"openb_pod_list_{workload}", {})
    return {name[3:]: figure["alloc_at_100pct"] for name, figure in policies.items()}


def _demand(pod: Resources) -> int:
    return pod.gpus * (pod.gpu_memory_mb or GPU)


def _drawn(pods: list[Resources], hosts: list[Capacity], seed: int) -> list[Resources]:
    """All pods, and more of them drawn until there are enough, in random order."""
    source = random.Random(seed)
    queue, wanted = list(pods), _INFLATION * GPU * sum(len(host.gpus) for host in hosts)
    demand = sum(map(_demand, queue))
    while demand < wanted:
        queue.append(source.choice(pods))
        demand += _demand(queue[-1])
    source.shuffle(queue)
    return queue


class _Ours:
    """The pool as flowrun uses it. What is typical is given, or what was seen."""

    def __init__(
        self, hosts: list[Capacity], typical: Counter[Resources] | None, pool: type[Pool] = Pool
    ) -> None:
        self._pool = pool(hosts, typical)
        self._seen: Counter[Resources] | None = Counter() if typical is None else None
        self._next_guess = _FIRST_GUESS

    def place(self, pod: Resources) -> Placement | Rejected:
        if self._seen is not None:
            self._seen[pod] += 1
            if self._seen.total() == self._next_guess:
                self._next_guess *= 2
                self._pool.expect(self._seen)
        found = self._pool.place(pod)
        if isinstance(found, Placement):
            self._pool.take(found)
        return found


class _ByFormula(Pool):
    """The same pool with the hosts in order of `tightness` alone: 1 less what stays unused, weighed."""

    def expect(self, typical: Mapping[Resources, int]) -> None:
        """Nothing is expected: only the host counts, and of its GPUs the fullest."""
        super().expect(typical)
        self._judge = _Tightest(typical, self._kinds)


class _Tightest(Judge):
    def best(self, kind: Kind, free: Free, request: Request, found: list[tuple[int, ...]]) -> Answer:
        """By what stays unused."""
        slack, state = -tightness(kind, free, request), (kind.number, free)
        return min(Answer(0, slack, sum(free.gpus[slot] for slot in slots), state, slots) for slots in found)


class _Any:
    """On the first host where a pod fits, in their order or in a random one."""

    def __init__(self, hosts: list[Capacity], source: random.Random | None) -> None:
        self._pools = [Pool([host]) for host in hosts]
        self._source = source

    def place(self, pod: Resources) -> Placement | Rejected:
        order = list(range(len(self._pools)))
        if self._source is not None:
            self._source.shuffle(order)
        found: Placement | Rejected
        for number in order:
            found = self._pools[number].place(pod)
            if isinstance(found, Placement):
                self._pools[number].take(found)
                break
        return found


def _replay(hosts: list[Capacity], queue: list[Resources], policy: _Ours | _Any) -> float:
    """The share of the GPUs, in percent, that is allocated once as many have been asked for as there are."""
    whole = GPU * sum(len(host.gpus) for host in hosts)
    asked = allocated = 0
    for pod in queue:
        asked += _demand(pod)
        if asked > whole:
            break
        if isinstance(policy.place(pod), Placement):
            allocated += _demand(pod)
    return 100 * allocated / whole


if __name__ == "__main__":
    harness.run(measure, show, data="../shared/data", workload="default", seeds=10, typical="given")
