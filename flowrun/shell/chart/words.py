"""What decided how long a run is, in words."""

from __future__ import annotations

from collections.abc import Sequence

from flowrun.core.bottleneck import Findings
from flowrun.shell.amounts import duration, share

NAMES = {"cpus": "CPUs", "memory": "memory", "gpus": "GPUs", "order": "their turn"}
_MOST_NAMED = 8  # nodes of a chain
_WAITS = 0.15  # a dimension is the bottleneck if the chain waits for it for this much of the time
_ALSO = 0.9  # and so are others that hold nodes back for nearly as long
_STARTS = 0.3  # and so is starting processes


def conclusions(found: Findings) -> list[str]:
    """The bottleneck in a sentence, what the time goes into, and the chain of nodes that decides it."""
    whole = max(1, found.makespan_ms)
    parts = sorted(found.parts.items(), key=lambda part: (-part[1], part[0]))
    went = ", ".join(f"{_doing(name)} {duration(ms)} ({share(ms / whole)})" for name, ms in parts)
    return [
        f"bottleneck  {bottleneck(found)}",
        f"the end     is decided by {chain(found.chain)}",
        *([f"            {went}"] if went else []),
    ]


def bottleneck(found: Findings) -> str:
    """What would have to change for the makespan to shrink."""
    whole = max(1, found.makespan_ms)
    waits = {name: ms for name, ms in found.parts.items() if name not in ("running", "starting")}
    name = max(waits, key=lambda name: waits[name], default="")
    if name and waits[name] >= _WAITS * whole:
        held_back = found.held_back.get(name, 0)
        during = f"{share(held_back / whole)} of the time ({duration(held_back)} of {duration(whole)})"
        others = [other for other, ms in found.held_back.items() if other != name and ms >= _ALSO * held_back]
        names = " and ".join(NAMES[each] for each in [name, *sorted(others)])
        return f"{names}: nodes that are ready wait for {names} during {during}"
    if found.parts.get("starting", 0) >= _STARTS * whole:
        took = duration(found.parts["starting"])
        return f"starting processes and loading what they import: {took} of {duration(whole)}"
    path = f"{duration(found.longest_path_ms)} of {duration(whole)}"
    return f"the longest path, {path}: more CPUs or GPUs hardly help"


def chain(nodes: Sequence[str]) -> str:
    """The nodes of a path, the middle of a long one left out."""
    half = _MOST_NAMED // 2
    if len(nodes) > _MOST_NAMED:
        nodes = [*nodes[:half], f"({len(nodes) - 2 * half} more)", *nodes[-half:]]
    return " → ".join(nodes) or "nothing"


def _doing(name: str) -> str:
    return {"running": "running", "starting": "starting"}.get(name, f"waiting for {NAMES.get(name, name)}")


def bound(found: Findings) -> str:
    """No schedule is shorter, and why."""
    work = [
        f"{NAMES[name]} need {duration(ms)} for the work"
        for name, ms in found.work_ms.items()
        if ms > 0 and name != "memory"
    ]
    reasons = ", ".join([f"the longest path takes {duration(found.longest_path_ms)}", *work])
    return f"at least {duration(found.bound_ms)}: {reasons}"
