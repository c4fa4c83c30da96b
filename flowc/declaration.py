"""What an operator declares: resources, retries, time limit. Human units in, plain numbers out."""

from __future__ import annotations

import math
import re

import msgspec

from flowc.plan.model import Resources

_MEMORY_MB = {"mb": 1, "mib": 1, "gb": 1024, "gib": 1024, "tb": 1024**2, "tib": 1024**2}
_TIME_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000}


class Impossible(ValueError):
    """What is declared for `name` makes no sense."""

    def __init__(self, name: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.hint = hint


class Declaration(msgspec.Struct, frozen=True):
    """Resources and limits of an operator, in the plan's units."""

    needs: Resources = Resources()
    retries: int = 0
    backoff_ms: int = 1000
    timeout_ms: int = 0


def declare(
    *,
    cpus: float = 1,
    memory: int | str = 0,
    gpus: int = 0,
    gpu_memory: int | str = 0,
    retries: int = 0,
    backoff: float | str = "1s",
    timeout: float | str = 0,
) -> Declaration:
    """Read a declaration; bare numbers are megabytes and seconds. `Impossible` names what makes no sense."""
    for name, value in (("cpus", cpus), ("gpus", gpus), ("retries", retries)):
        _demand(not isinstance(value, bool), name, value, "a number")
    _demand(isinstance(cpus, (int, float)) and 0 <= cpus < math.inf, "cpus", cpus, "a number from 0 up")
    _demand(isinstance(gpus, int) and gpus >= 0, "gpus", gpus, "a whole number from 0 up")
    _demand(
        isinstance(retries, int) and 0 <= retries <= 100, "retries", retries, "a whole number from 0 to 100"
    )
    whole = int(cpus) if cpus == int(cpus) else cpus
    needs = Resources(
        whole,
        amount(memory, "memory", _MEMORY_MB, "mb"),
        gpus,
        amount(gpu_memory, "gpu_memory", _MEMORY_MB, "mb"),
    )
    if needs.gpu_memory_mb and not gpus:
        raise Impossible("gpu_memory", "`gpu_memory` is given, but no `gpus`", "give `gpus=1`, too")
    return Declaration(
        needs, retries, amount(backoff, "backoff", _TIME_MS, "s"), amount(timeout, "timeout", _TIME_MS, "s")
    )


def amount(value: float | str, name: str, units: dict[str, int], bare: str) -> int:
    """`"2GB"`, `"1.5 h"` or a bare number in units of `bare`, as a whole number of the smallest unit."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]*)\s*", str(value))
    unit = (match[2].lower() or bare) if match else ""
    example = f'{name}="2 {list(units)[2]}"'
    hint = f"a number, and one of {', '.join(units)}: `{example}`"
    _demand(match is not None and unit in units, name, value, "an amount", hint)
    assert match is not None
    return math.ceil(float(match[1]) * units[unit])


def _demand(holds: bool, name: str, value: object, wanted: str, hint: str = "") -> None:
    if not holds:
        raise Impossible(name, f"`{name}` must be {wanted}, got {value!r}", hint)
