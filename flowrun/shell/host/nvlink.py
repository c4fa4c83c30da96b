"""Which GPUs NVLink joins, and which are divided, as NVML tells.

A link of a GPU ends at another GPU or at an NVSwitch, each named by its PCI bus id. GPUs between which there
is a way over links are a domain.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

_LINKS_MAX = 36  # NVML_NVLINK_MAX_LINKS
_SWITCH = 2  # NVML_NVLINK_DEVICE_TYPE_SWITCH
_NOT_THERE = "ffffffff"  # how the bus id of a switch begins that a virtual machine does not see


def is_divided(nvml: Any, handle: Any) -> bool:
    """Whether a GPU is in MIG mode. Those that know no such mode are not."""
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        current, _ = nvml.nvmlDeviceGetMigMode(handle)
        return bool(current)
    return False


def ends(nvml: Any, handle: Any) -> set[str]:
    """The bus ids of a GPU and of all that its active links end at; nothing if it has no links."""
    found: set[str] = set()
    for link in range(_LINKS_MAX):
        try:
            active = nvml.nvmlDeviceGetNvLinkState(handle, link)
        except (nvml.NVMLError, AttributeError):  # as many links as it has are told of, and then no more
            break
        if active:
            with contextlib.suppress(nvml.NVMLError, AttributeError):
                found.add(_other_end(nvml, handle, link))
    if found:
        with contextlib.suppress(nvml.NVMLError, AttributeError):
            found.add(_bus_id(nvml.nvmlDeviceGetPciInfo(handle)))
    return found


def _other_end(nvml: Any, handle: Any, link: int) -> str:
    kind = None
    with contextlib.suppress(nvml.NVMLError, AttributeError):
        kind = nvml.nvmlDeviceGetNvLinkRemoteDeviceType(handle, link)
    try:
        end = _bus_id(nvml.nvmlDeviceGetNvLinkRemotePciInfo(handle, link))
    except nvml.NVMLError:
        end = _NOT_THERE
    if kind == _SWITCH and end.startswith(_NOT_THERE):
        return "switch"  # one that is not shown: those of a host make up one fabric
    return end


def _bus_id(info: Any) -> str:
    text = info.busId.decode() if isinstance(info.busId, bytes) else info.busId
    return str(text).lower()


def domains(ends_of: Sequence[set[str]]) -> list[int]:
    """The domain of each GPU, from 1 up in order of the GPUs; 0 for one that is joined to no other."""
    joined: list[tuple[set[str], list[int]]] = []
    for gpu, found in enumerate(ends_of):
        if found:
            touching = [part for part in joined if not part[0].isdisjoint(found)]
            joined = [part for part in joined if part[0].isdisjoint(found)]
            names = found.union(*(part[0] for part in touching))
            joined.append((names, [member for part in touching for member in part[1]] + [gpu]))
    numbers = [0] * len(ends_of)
    several = sorted(sorted(members) for _, members in joined if len(members) > 1)
    for number, members in enumerate(several, 1):
        for member in members:
            numbers[member] = number
    return numbers
