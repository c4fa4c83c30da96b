"""What an operator declares: resources, retries, time limit. Human units in, plain numbers out."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, get_args

import msgspec

from flowc.plan.model import Estimate, FailureKind, Isolation, Resources

_MEMORY_MB = {"mb": 1, "mib": 1, "gb": 1024, "gib": 1024, "tb": 1024**2, "tib": 1024**2}
_TIME_MS = {"ms": 1, "s": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000}


class Impossible(ValueError):
    """What is declared for `name` makes no sense."""

    def __init__(self, name: str, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.name = name
        self.hint = hint


class Declaration(msgspec.Struct, frozen=True):
    """What an operator declares, in the plan's units; named as the fields of `Site`, `fold` aside."""

    needs: Resources = Resources()
    retries: int = 0
    backoff_ms: int = 1000
    retry_on: tuple[FailureKind, ...] = ()
    timeout_ms: int = 0
    heartbeat_ms: int = 0
    isolation: Isolation = "warm"
    priority: int = 0
    deterministic: bool = False
    cache: bool = True
    secrets: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    estimate: Estimate = Estimate()
    fold: bool = False


def declare(
    *,
    cpus: float = 1,
    memory: int | str = 0,
    gpus: int | str = 0,
    gpu_memory: int | str = 0,
    gpu: str | Sequence[str] = (),
    linked: bool = False,
    uses: Mapping[str, int] | None = None,
    retries: int = 0,
    backoff: float | str = "1s",
    retry_on: FailureKind | Sequence[FailureKind] = (),
    timeout: float | str = 0,
    heartbeat: float | str = 0,
    isolation: Isolation = "warm",
    priority: int = 0,
    deterministic: bool = False,
    cache: bool = True,
    secrets: Sequence[str] = (),
    env: Sequence[str] = (),
    estimate: float | str = 0,
    fold: bool = False,
) -> Declaration:
    """Read a declaration; bare numbers are megabytes and seconds. `Impossible` names what makes no sense."""
    for name, value in (("cpus", cpus), ("retries", retries), ("priority", priority)):
        _demand(not isinstance(value, bool), name, value, "a number")
    for name, flag in (
        ("deterministic", deterministic),
        ("cache", cache),
        ("fold", fold),
        ("linked", linked),
    ):
        _demand(isinstance(flag, bool), name, flag, "`True` or `False`")
    _demand(isinstance(cpus, (int, float)) and 0 <= cpus < math.inf, "cpus", cpus, "a number from 0 up")
    _demand(
        isinstance(retries, int) and 0 <= retries <= 100, "retries", retries, "a whole number from 0 to 100"
    )
    _demand(
        isinstance(priority, int) and abs(priority) <= 1000, "priority", priority, "a whole number, +-1000"
    )
    hint = "add `deterministic=True`, if it always gives the same for the same arguments"
    _demand(deterministic or not fold, "fold", fold, "declared along with `deterministic=True`", hint)
    hint = "leave it to the run, which has the environment that it is meant for"
    _demand(not (fold and (secrets or env)), "fold", fold, "left out where `secrets` or `env` are read", hint)
    timeout_ms, heartbeat_ms, ms = _times(timeout, heartbeat, estimate)
    fits = isinstance(isolation, str) and isolation in get_args(Isolation)
    hint = 'leave it out, unless it has to have a process of its own: `isolation="fork"`'
    _demand(fits, "isolation", isolation, f"one of {_listed(Isolation)}", hint)
    whole = int(cpus) if cpus == int(cpus) else cpus
    gpu_memory_mb = amount(gpu_memory, "gpu_memory", _MEMORY_MB, "mb")
    models = _models(gpu)
    least, most = _gpus(gpus)
    least = least or int(gpu_memory_mb > 0 or bool(models))  # a share of a GPU's memory is a share of one GPU
    _demand(not linked or max(least, most) > 1, "linked", linked, "left out where there is one GPU or none")
    needs = Resources(
        whole,
        amount(memory, "memory", _MEMORY_MB, "mb"),
        least,
        gpu_memory_mb,
        most if most > least else 0,
        models,
        linked,
        _uses(uses or {}),
    )
    return Declaration(
        needs,
        retries,
        amount(backoff, "backoff", _TIME_MS, "s"),
        _kinds(retry_on),
        timeout_ms,
        heartbeat_ms,
        isolation,
        priority,
        deterministic,
        cache,
        _names(secrets, "secrets"),
        _names(env, "env"),
        Estimate(ms, "declared") if ms else Estimate(),
        fold,
    )


def _times(timeout: float | str, heartbeat: float | str, estimate: float | str) -> tuple[int, int, int]:
    """A time limit, the longest time without a sign of life, and an estimate: milliseconds, or 0."""
    timeout_ms, ms = amount(timeout, "timeout", _TIME_MS, "s"), amount(estimate, "estimate", _TIME_MS, "s")
    _demand(not 0 < timeout_ms < ms, "estimate", estimate, f"at most the `timeout` of {timeout}")
    heartbeat_ms = amount(heartbeat, "heartbeat", _TIME_MS, "s")
    hint = "for example `heartbeat=60`: a minute without output or `flowc.beat()` means that it hangs"
    _demand(not 0 < heartbeat_ms < 1000, "heartbeat", heartbeat, "a second or more", hint)
    shorter = not 0 < timeout_ms <= heartbeat_ms
    _demand(shorter, "heartbeat", heartbeat, f"less than the `timeout` of {timeout}, which ends it first")
    return timeout_ms, heartbeat_ms, ms


def _kinds(written: str | Sequence[str]) -> tuple[FailureKind, ...]:
    """Kinds of failure, sorted."""
    listed = (written,) if isinstance(written, str) else written
    fits = isinstance(listed, (list, tuple, set, frozenset)) and all(
        isinstance(kind, str) and kind in get_args(FailureKind) for kind in listed
    )
    hint = 'for example `retry_on=("crash", "timeout")`: failures of other kinds are final'
    _demand(fits, "retry_on", written, f"kinds of failure: {_listed(FailureKind)}", hint)
    return tuple(kind for kind in sorted(get_args(FailureKind)) if kind in listed)


def _listed(literal: Any) -> str:
    return ", ".join(f'"{value}"' for value in get_args(literal))


def _gpus(written: int | str) -> tuple[int, int]:
    """The least and the most of GPUs: `2` or `"1-4"`."""
    match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", str(written))
    fits = match is not None and not isinstance(written, bool)
    hint = 'for example `gpus=2`, or `gpus="1-4"` for what can start with less'
    _demand(fits, "gpus", written, "a whole number from 0 up, or a range", hint)
    assert match is not None
    least, most = int(match[1]), int(match[2] or match[1])
    _demand(least <= most and (least > 0 or most == 0), "gpus", written, "a range from 1 up", hint)
    return least, most


def _models(written: str | Sequence[str]) -> tuple[str, ...]:
    """GPU models, sorted: any of them will do."""
    listed = (written,) if isinstance(written, str) else written
    fits = isinstance(listed, (list, tuple)) and all(
        isinstance(model, str) and re.search(r"[A-Za-z0-9]", model) for model in listed
    )
    hint = 'for example `gpu="H100"`, or `gpu=("A100", "H100")` if either will do'
    _demand(fits, "gpu", written, "a GPU's model, or several", hint)
    return tuple(sorted(set(listed)))


def _uses(written: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    """Amounts of named resources, in order of names."""
    fits = isinstance(written, Mapping) and all(
        isinstance(name, str)
        and re.fullmatch(r"[\w.-]+", name)
        and isinstance(amount, int)
        and not isinstance(amount, bool)
        and 0 < amount < 2**63
        for name, amount in written.items()
    )
    hint = 'for example `uses={"licence": 1}`: the host says how many there are'
    _demand(fits, "uses", written, "names of resources with whole numbers from 1 up", hint)
    return tuple(sorted(written.items()))


def _names(written: Sequence[str], what: str) -> tuple[str, ...]:
    """Names of environment variables, sorted."""
    fits = isinstance(written, (list, tuple, set, frozenset))
    names = tuple(written) if fits else ()
    fits = fits and all(isinstance(name, str) and re.fullmatch(r"[A-Za-z_]\w*", name) for name in names)
    hint = f'for example `{what}=["HF_TOKEN"]`: the name, never the value'
    # A value that was written by mistake is not repeated: it may be the secret itself.
    _demand(fits, what, "something else", "a list of names of environment variables", hint)
    return tuple(sorted(set(names)))


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
