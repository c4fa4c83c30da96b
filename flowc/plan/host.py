"""What hosts have, and whether one could ever run a node: the same answer for the compiler and the runner."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import msgspec

from flowc.plan.model import Resources
from flowc.plan.text import counted


class Gpu(msgspec.Struct, frozen=True, omit_defaults=True):
    """A GPU by its number on the host. GPUs with the same `link`, 0 aside, are joined by NVLink."""

    index: int
    name: str = ""
    memory_mb: int = 0
    link: int = 0


class Capacity(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a host offers to tasks. `resources` are named things that are counted, such as licences."""

    cpus: float
    memory_mb: int
    gpus: tuple[Gpu, ...] = ()
    resources: tuple[tuple[str, int], ...] = ()


class Cluster(msgspec.Struct, frozen=True):
    """Hosts, each kind with how many of it, and named resources of which there is one count for all."""

    kinds: tuple[tuple[Capacity, int], ...]
    shared: tuple[tuple[str, int], ...] = ()

    @property
    def hosts(self) -> tuple[Capacity, ...]:
        """Each of the hosts."""
        return tuple(capacity for capacity, count in self.kinds for _ in range(count))

    @property
    def alone(self) -> tuple[Capacity, ...]:
        """A host of each kind, as if it had all that is shared."""
        return tuple(
            msgspec.structs.replace(
                capacity, resources=tuple(sorted({**dict(capacity.resources), **dict(self.shared)}.items()))
            )
            for capacity, _ in self.kinds
        )


class Lack(NamedTuple):
    """What a host has too little of: the dimension, how much is needed, how much there is."""

    dimension: str
    need: float
    have: float


# In the order in which they are looked at: what fails late comes near. Named resources come third.
_NEARNESS = {"cpus": 0, "memory": 1, "gpus": 3, "gpu model": 4, "gpu memory": 5, "linked gpus": 6}


def visible_gpus(gpus: Sequence[tuple[int, str]], setting: str | None) -> list[int]:
    """Which GPUs, given by number and UUID, a value of CUDA_VISIBLE_DEVICES leaves visible: places in `gpus`.

    As CUDA reads it: a list of numbers or UUID prefixes, ending at the first that is not there. CUDA numbers
    them in this order, from 0.
    """
    if setting is None:
        return list(range(len(gpus)))
    chosen: list[int] = []
    for entry in (part.strip() for part in setting.split(",")):
        matches = [
            place
            for place, (number, uuid) in enumerate(gpus)
            if entry and (str(number) == entry or uuid.startswith(entry))
        ]
        if len(matches) != 1 or matches[0] in chosen:
            break
        chosen += matches
    return chosen


def nearness(dimension: str) -> int:
    """How far a request got before a dimension was found short."""
    return _NEARNESS.get(dimension, 2)


def lack(needs: Resources, host: Capacity) -> Lack | None:
    """Why a host could never run a node with some needs, even if it were empty; `None` if it could.

    Of GPU models it says how many GPUs there are, of GPU memory how much the largest have that are too small.
    """
    if needs.cpus > host.cpus:
        return Lack("cpus", needs.cpus, host.cpus)
    if needs.memory_mb > host.memory_mb:
        return Lack("memory", needs.memory_mb, host.memory_mb)
    there = dict(host.resources)
    for name, amount in needs.uses:
        if amount > there.get(name, 0):
            return Lack(name, amount, there.get(name, 0))
    return _lack_of_gpus(needs, host) if needs.gpus else None


def nearest_host(needs: Resources, hosts: Sequence[Capacity]) -> int | None:
    """Of hosts that could never run a node, which comes nearest; `None` if one could."""
    best: tuple[int, float, int] | None = None
    known: dict[int, Lack | None] = {}  # there are many alike
    for number, host in enumerate(hosts):
        if id(host) not in known:
            found = known[id(host)] = lack(needs, host)
            if found is None:
                return None
            rated = (nearness(found.dimension), found.have, -number)
            best = rated if best is None else max(best, rated)
    assert best is not None, "there is a host"
    return -best[2]


def _lack_of_gpus(needs: Resources, host: Capacity) -> Lack | None:
    if needs.gpus > len(host.gpus):
        return Lack("gpus", needs.gpus, len(host.gpus))
    of_model = [gpu for gpu in host.gpus if is_any_model(gpu.name, needs.gpu_models)]
    if needs.gpus > len(of_model):
        return Lack("gpu model", needs.gpus, len(of_model))
    suited = [gpu for gpu in of_model if gpu.memory_mb >= needs.gpu_memory_mb]
    if needs.gpus > len(suited):
        largest_first = sorted((gpu.memory_mb for gpu in of_model), reverse=True)
        return Lack("gpu memory", needs.gpu_memory_mb, largest_first[len(suited)])
    together = _most_linked(suited) if needs.linked else len(suited)
    return Lack("linked gpus", needs.gpus, together) if needs.gpus > together else None


def _most_linked(gpus: Sequence[Gpu]) -> int:
    return max([1, *Counter(gpu.link for gpu in gpus if gpu.link).values()])


def lacking(needs: Resources, host: Capacity) -> str:
    """The same in words: `4 GPUs with 81920 MB, and there are 2`; empty if the host could run it."""
    found = lack(needs, host)
    if found is None:
        return ""
    dimension, need, have = found
    wanted = counted(needs.gpus, "GPU")
    model = f" of {' or '.join(needs.gpu_models)}" if needs.gpu_models else ""
    match dimension:
        case "cpus":
            return f"{need:g} CPUs, and there are {have:g}"
        case "memory":
            return f"{need} MB of memory, and there are {have}"
        case "gpus":
            return f"{wanted}, and there are {have}"
        case "gpu model":
            names = ", ".join(f"{n} x {name}" for name, n in Counter(gpu.name for gpu in host.gpus).items())
            return f"{wanted}{model}, and there are {have} (the host has {names})"
        case "gpu memory":
            fitting = sum(
                gpu.memory_mb >= need and is_any_model(gpu.name, needs.gpu_models) for gpu in host.gpus
            )
            return f"{wanted}{model} with {need} MB, and there are {fitting}"
        case "linked gpus":
            return f"{wanted}{model} that are linked, and there are {have} together"
        case name:
            return f"{need} of `{name}`, and there are {have}"


def nearest(needs: Resources, host: Capacity) -> str:
    """What to declare for a node to fit a host, as written in an operator: `gpus=2, memory="16GB"`.

    Each thing that the host lacks is lowered to what it has, fewer GPUs rather than other ones.
    """
    changed: dict[str, Any] = {}
    for _ in range(len(_NEARNESS) + len(needs.uses)):  # each of which is put right once at most
        found = lack(needs, host)
        if found is None:
            break
        change = _lowered(needs, host, found)
        needs = msgspec.structs.replace(needs, **change)
        changed |= change
    return ", ".join(_written(name, value) for name, value in changed.items() if name != "gpus_max")


def _lowered(needs: Resources, host: Capacity, found: Lack) -> dict[str, Any]:
    have = int(found.have)
    suited = [
        gpu
        for gpu in host.gpus
        if is_any_model(gpu.name, needs.gpu_models) and gpu.memory_mb >= needs.gpu_memory_mb
    ]
    match found.dimension:
        case "cpus":
            return {"cpus": found.have}
        case "memory":
            return {"memory_mb": have}
        case "gpus" | "linked gpus":
            return {"gpus": have, "gpus_max": 0}
        case "gpu model" | "gpu memory" if suited:
            return {"gpus": len(suited), "gpus_max": 0}
        case "gpu model":
            return {"gpu_models": (Counter(gpu.name for gpu in host.gpus).most_common(1)[0][0],)}
        case "gpu memory":
            return {"gpu_memory_mb": have}
        case name:
            uses = ((n, have if n == name else amount) for n, amount in needs.uses)
            return {"uses": tuple((n, amount) for n, amount in uses if amount)}


def _written(name: str, value: Any) -> str:
    """A field as an operator declares it."""
    match name:
        case "memory_mb" | "gpu_memory_mb":
            amount = f"{value}MB" if value % 1024 or not value else f"{value // 1024}GB"
            return f'{name.removesuffix("_mb")}="{amount}"'
        case "gpu_models":
            return f'gpu="{value[0]}"'
        case "uses":
            return f"uses={dict(value)}".replace("'", '"')
        case _:
            return f"{name}={value:g}"


def is_any_model(name: str, models: tuple[str, ...]) -> bool:
    """Whether a GPU is of one of some models; of none in particular will do for all."""
    return not models or any(is_model(name, model) for model in models)


@lru_cache(4096)
def is_model(name: str, model: str) -> bool:
    """Whether a GPU's name, as the driver gives it, is of a model: has its words in a row.

    `NVIDIA H100 80GB HBM3` is of `H100` and of `H100-80GB`, and not of `H10`.
    """
    words, wanted = _words(name), _words(model)
    return any(words[i : i + len(wanted)] == wanted for i in range(len(words) - len(wanted) + 1))


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z0-9]+", text.lower())
