"""What comes before a run is queued: its plan is read and checked, and all that follows from it is computed.

For a large plan this takes seconds, so it needs nothing of what changes meanwhile, and can be done elsewhere.
"""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import msgspec

from flowc.plan import codec
from flowc.plan.diagnostics import Diagnostic, Refused, refuse
from flowrun.core.changes import Earlier, Submission
from flowrun.core.derived import Derived, derive
from flowrun.core.model import Capacity, Inputs
from flowrun.core.resume import carry_over
from flowrun.core.scheduler.order import Fair
from flowrun.core.sharing.teams import Sharing
from flowrun.core.state import State
from flowrun.service import admission
from flowrun.service.aside import Aside
from flowrun.shell.demands import demand_environment, demand_feasible, demand_named, versions_for
from flowrun.shell.log.home import Home
from flowrun.shell.log.reopening import reopened
from flowrun.shell.log.runlog import RunLog
from flowrun.shell.preparing import bound
from flowrun.shell.teams import fair


class Wanted(msgspec.Struct, frozen=True):
    """A plan file that is to be run, maybe going on with the run `resume`, but for what `refresh` names."""

    file: str
    inputs: tuple[str, ...]
    submission: Submission
    resume: str = ""
    refresh: tuple[str, ...] = ()


class Prepared(msgspec.Struct, frozen=True, tag="prepared"):
    """A run that can be queued: `plan` is the hash of the plan that the run log keeps, `body` its bytes."""

    plan: str
    body: bytes
    inputs: Inputs
    versions: dict[str, str]
    earlier: dict[str, Earlier]
    derived: Derived


def prepare(wanted: Wanted, log: RunLog, capacity: Capacity, order: Fair) -> Prepared:
    """Read, check and derive, and let the log keep the plan; `Refused` says what is wrong."""
    plan = codec.read(wanted.file)
    before = reopened(log, wanted.resume, plan) if wanted.resume else None
    inputs = bound(plan, wanted.inputs, before)
    demand_feasible(plan, capacity)
    admission.demand_allowed(plan, wanted.submission, order)
    demand_environment(plan, os.environ)
    demand_named(plan, wanted.refresh)
    versions = versions_for(plan)
    derived = derive(plan, inputs, versions)
    earlier: dict[str, Earlier] = {}
    if before is not None:
        state = State(plan, inputs, versions, derived=derived)
        earlier = carry_over(before, state, log.home.store.is_sound, frozenset(wanted.refresh))
    digest, body = log.keep_plan(plan)
    return Prepared(digest, body, inputs, versions, earlier, derived)


class Order(msgspec.Struct, frozen=True):
    """What another process is asked to prepare, and what it has to know of the daemon."""

    wanted: Wanted
    state: str
    capacity: Capacity
    sharing: Sharing


class NotPrepared(msgspec.Struct, frozen=True, tag="not prepared"):
    """What is wrong."""

    diagnostics: tuple[Diagnostic, ...]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Prepared | NotPrepared).decode


def elsewhere(order: Order) -> Aside:
    """Prepare in a process of its own."""
    return Aside(__name__, _encode(order))


def prepared(wanted: Wanted, result: bytes | None) -> Prepared:
    """What came of that; `Refused` if it was refused there."""
    if result is None:
        refuse("FC201", f"cannot read the plan `{wanted.file}`: the process that did so died")
    found: Prepared | NotPrepared = _decode(result)
    if isinstance(found, NotPrepared):
        raise Refused(*found.diagnostics)
    return found


def _main() -> None:
    gc.disable()  # what is made here is gone in a moment
    order = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=Order)
    log = RunLog(Home(Path(order.state)), writable=True)
    found: Prepared | NotPrepared
    try:
        found = prepare(order.wanted, log, order.capacity, fair(order.sharing, order.capacity))
    except Refused as refusal:
        found = NotPrepared(refusal.diagnostics)
    with open(sys.stdout.fileno(), "wb", closefd=False) as file:
        file.write(_encode(found))


if __name__ == "__main__":
    _main()
