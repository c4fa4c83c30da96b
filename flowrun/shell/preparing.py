"""Before a run: the values of its inputs, what the first zygote is told, and where nodes are to print to.

Imports little: a zygote waits for it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from flowc.plan.model import Plan
from flowc.plan.registry import examine
from flowrun.core.inputs import bind
from flowrun.core.model import Inputs
from flowrun.shell.log.home import Home
from flowrun.shell.workers.pool import Pool

if TYPE_CHECKING:
    from flowrun.core.state import State

_SAFE = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.+-[]#~,")
_LONGEST_NAME = 150


def bound(plan: Plan, given: Sequence[str], before: State | None) -> Inputs:
    """The values of a plan's inputs: as given, as they were before, or by default; or `Refused`."""
    classes = {structure.type: structure for structure in plan.structures}
    return bind(plan.header, given, before.inputs if before else None, classes, examine)


def prepare(pool: Pool, plan: Plan, home: Home) -> None:
    """Have a pool import a plan's operators, and keep the logs of its nodes."""
    log = home.prepare()
    pool.prepare(Path(plan.header.root), home.folder, log, functools.partial(log_path, home), operators(plan))


def operators(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The plan's operators, in order of first use, with the modules that they import when they run."""
    return {site.op: site.imports for site in plan.sites if site.control not in ("branch", "choose")}


def log_path(home: Home, run: str, node: str, attempt: int) -> Path:
    """The file with an attempt's output: `logs/tree.1.log`, with `%` for each `/` in the node's id.

    There is none if nothing was printed.
    """
    return home.run_folder(run) / "logs" / log_name(node, attempt)


def log_name(node: str, attempt: int) -> str:
    """The name of that file in its folder."""
    return f"{file_name(node)}.{attempt}.log"


def file_name(node: str) -> str:
    """Characters that a file system may not like become `%`, and long ids are cut.

    A piece of a hash then keeps their names apart.
    """
    if len(node) <= _LONGEST_NAME and _SAFE.issuperset(node):
        return node
    from blake3 import blake3

    safe = "".join(c if c in _SAFE else "%" for c in node)[:_LONGEST_NAME]
    if safe.replace("%", "/") != node:
        safe += f"~{blake3(node.encode()).hexdigest()[:8]}"
    return safe
