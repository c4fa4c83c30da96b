"""Hosts as a file or a line of text describes them.

cpus = 64                       [resources]             # for all hosts together
memory_mb = 1048576             licence = 4
[[gpus]]                        [[hosts]]               # hosts of a kind, where there are several
count = 8                       count = 16
name = "H100"                   cpus = 64
memory_mb = 81920               memory_mb = 1048576
link = 4  # NVLink joins 4      [[hosts.gpus]]
[resources]                     count = 8
licence = 1

8xH100-80GB linked, 2x64 cores, 1 TiB, licence=1
16 hosts: 8xH100-80GB, 64 cores, 1 TiB; 4 hosts: 64 cores, 256 GiB
licence=1       # named resources alone: of a host that is what it is otherwise
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import msgspec

from flowc.plan.diagnostics import Place, refuse
from flowc.plan.host import Capacity, Cluster, Gpu

MOST_HOSTS = 1_000_000
MOST_GPUS = 65_536  # of a host
_MOST = 2**53
_UNITS_MB = {"mb": 1, "mib": 1, "gb": 1024, "gib": 1024, "tb": 1024**2, "tib": 1024**2}
_HINT = (
    "for example: cpus = 8, memory_mb = 65536, and [[gpus]] with count = 2, memory_mb = 81920; "
    'or in a line: "2xH100-80GB, 8 cores, 64 GiB"'
)


class _Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some GPUs of a kind; `link` of them at a time are joined by NVLink."""

    count: int = 1
    name: str = "GPU"
    memory_mb: int = 0
    link: int = 0


class _Host(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Some hosts of a kind."""

    cpus: float
    memory_mb: int
    gpus: tuple[_Group, ...] = ()
    resources: dict[str, int] = {}
    count: int = 1


class _Hosts(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hosts of several kinds."""

    hosts: tuple[_Host, ...]
    resources: dict[str, int] = {}


def read(described: str, here: Callable[[], Capacity] | None = None) -> Cluster:
    """The hosts that a TOML file, or text, describes; `Refused` (FR111) if it makes no sense.

    Where it only names resources, they are those of the host `here`.
    """
    path = Path(described)
    in_file = described.endswith(".toml") or (len(described) < 256 and path.is_file())
    try:
        found = _of_toml(path.read_text(encoding="utf-8")) if in_file else _of_text(described)
        if here is not None and (resources := _only_resources(found)):
            return Cluster(((msgspec.structs.replace(here(), resources=_counted(resources)), 1),))
        return _cluster(found)
    except OSError as error:
        refuse("FR111", f"cannot read the device specification `{described}`: {error.strerror}")
    except ValueError as error:  # TOML's and msgspec's are ValueErrors too
        places = (Place(described),) if in_file else ()
        refuse("FR111", f"the device specification is not valid: {error}", *places, hint=_HINT)


def read_one(described: str, here: Callable[[], Capacity] | None = None) -> Capacity:
    """The only host; `Refused` (FR113) where several are described."""
    cluster = read(described, here)
    if sum(count for _, count in cluster.kinds) > 1:
        message = f"`{described}` describes several hosts, and this takes one"
        refuse("FR113", message, hint="describe one host; `flowrun simulate` takes several")
    return cluster.alone[0]


def _of_toml(text: str) -> _Hosts:
    import tomllib

    table = tomllib.loads(text)
    if "hosts" in table:
        return msgspec.convert(table, _Hosts)
    if "count" in table:
        raise ValueError("`count` is of `[[hosts]]` or of `[[gpus]]`")
    if set(table) == {"resources"}:
        table |= {"cpus": 0, "memory_mb": 0}
    return _Hosts((msgspec.convert(table, _Host),))


def _only_resources(found: _Hosts) -> dict[str, int]:
    """What is counted, if nothing else is described."""
    (host, *others) = found.hosts or (_Host(1, 1),)
    return host.resources if not (host.cpus or host.memory_mb or host.gpus or others) else {}


def _of_text(text: str) -> _Hosts:
    """`16 hosts: 8xH100-80GB linked, 2x64 cores, 1 TiB, licence=1; ...`"""
    return _Hosts(tuple(_host_of_text(part) for part in text.split(";") if part.strip()))


_HOSTS = re.compile(r"\s*(\d+)\s*hosts?\s*:(.*)", re.IGNORECASE | re.DOTALL)
_CORES = re.compile(r"(?:(\d+)\s*x\s*)?(\d+(?:\.\d+)?)\s*(?:cores?|cpus?)", re.IGNORECASE)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]i?b)", re.IGNORECASE)
_GPUS = re.compile(r"(?:(\d+)\s*x\s*)?([a-z][\w .-]*?)(?:[- ](\d+)\s*([mgt]i?b))?(\s+linked)?", re.IGNORECASE)
_NAMED = re.compile(r"([\w.-]+)\s*=\s*(\d+)")


def _host_of_text(text: str) -> _Host:
    several = _HOSTS.fullmatch(text)
    count, text = (int(several[1]), several[2]) if several else (1, text)
    cpus, memory_mb, groups = 0.0, 0, []
    resources: dict[str, int] = {}
    for part in filter(None, map(str.strip, text.split(","))):
        if found := _CORES.fullmatch(part):
            cpus += int(found[1] or 1) * float(found[2])
        elif found := _MEMORY.fullmatch(part):
            memory_mb += _megabytes(found[1], found[2])
        elif found := _NAMED.fullmatch(part):
            resources[found[1]] = resources.get(found[1], 0) + int(found[2])
        elif found := _GPUS.fullmatch(part):
            many = int(found[1] or 1)
            memory = _megabytes(found[3], found[4]) if found[3] else 0
            groups.append(_Group(many, found[2].strip(), memory, many if found[5] else 0))
        else:
            raise ValueError(f"`{part}` says neither GPUs, cores, memory nor a named resource")
    if (cpus or memory_mb or groups or not resources) and not (cpus and memory_mb):
        raise ValueError(
            f"`{text.strip()}` does not say {'how many cores' if not cpus else 'how much memory'}"
        )
    return _Host(cpus, memory_mb, tuple(groups), resources, count)


def _megabytes(amount: str, unit: str) -> int:
    if unit.lower() not in _UNITS_MB:
        raise ValueError(f"`{amount} {unit}` is not in one of {', '.join(_UNITS_MB)}")
    return int(float(amount) * _UNITS_MB[unit.lower()])


def _cluster(found: _Hosts) -> Cluster:
    if not 0 < sum(host.count for host in found.hosts) <= MOST_HOSTS or any(
        host.count < 1 for host in found.hosts
    ):
        raise ValueError(f"there must be from 1 to {MOST_HOSTS:,} hosts")
    kinds = tuple((_capacity(host), host.count) for host in found.hosts)
    return Cluster(kinds, _counted(found.resources))


def _capacity(host: _Host) -> Capacity:
    if not 0 < host.cpus < 1e6 or not 0 < host.memory_mb < _MOST:
        raise ValueError("`cpus` and `memory_mb` must be above 0, and no more than a host can have")
    if any(group.count < 1 or not 0 <= group.memory_mb < _MOST for group in host.gpus):
        raise ValueError("a group of GPUs must count at least 1, and its memory cannot be below 0")
    if sum(group.count for group in host.gpus) > MOST_GPUS:
        _beyond(f"a host has at most {MOST_GPUS:,} GPUs: each group must count at least 1, and less")
    gpus: list[Gpu] = []
    links = 0
    for group in host.gpus:
        if not 0 <= group.link <= group.count:
            _beyond(f"`link` joins from 0 to all {group.count} GPUs of a group, not {group.link}")
        for i in range(group.count):
            joined = links + 1 + i // group.link if group.link > 1 else 0
            gpus.append(Gpu(len(gpus), group.name, group.memory_mb, joined))
        links += -(-group.count // group.link) if group.link > 1 else 0
    return Capacity(host.cpus, host.memory_mb, tuple(gpus), _counted(host.resources))


def _counted(resources: dict[str, int]) -> tuple[tuple[str, int], ...]:
    for name, amount in resources.items():
        if not name or not 0 <= amount < _MOST:
            _beyond(f"there must be from 0 up of the resource `{name}`, not {amount}")
    return tuple(sorted(resources.items()))


def _beyond(message: str) -> NoReturn:
    raise ValueError(message)
