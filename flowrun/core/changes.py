"""Everything that can happen to a run, as closed unions. The run log is a list of these.

Events come from the world; commands are the core's decisions, which the shell then carries out. Applying
the changes of a log in order gives the state that the run had, whatever the policy is by then. Times are
milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flowrun.core.model import Artifact, Capacity, Failure, Inputs, Placement, RunStatus, Usage
from flowrun.core.sharing.teams import Sharing

KillReason = Literal["timeout", "cancelled", "preempted"]
GRACE_MS = 5000  # between asking a process to end and ending it


class Change(msgspec.Struct, frozen=True, tag_field="change", omit_defaults=True):
    """A row of the run log."""


class Earlier(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node did before the run was resumed. With an artifact it is done; without, it starts over.

    The nodes of a loop are not there yet when the run is opened: theirs counts if they have the same `key`.
    """

    attempt: int
    started_ms: int = 0
    ended_ms: int = 0
    usage: Usage = Usage()
    artifact: Artifact | None = None
    key: str = ""


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose a run is, and how important, where many share a host."""

    team: str
    tier: int
    priority: int = 0


class Opened(Change, frozen=True, tag="opened"):
    """The run began, or was resumed after what `earlier` tells of its nodes.

    `submission` is there if a daemon executes it, and `sharing`, the teams as they were configured then.
    """

    at_ms: int
    plan: str  # hash of the plan file
    inputs: Inputs
    capacity: Capacity
    earlier: dict[str, Earlier] = {}
    versions: dict[str, str] = {}  # of the installed packages that operators import
    submission: Submission | None = None
    sharing: Sharing | None = None


class Exited(Change, frozen=True, tag="exited"):
    """An attempt ended: with an artifact, or with a failure."""

    at_ms: int
    node: str
    attempt: int
    artifact: Artifact | None = None
    failure: Failure | None = None
    usage: Usage = Usage()


class Resolved(Change, frozen=True, tag="resolved"):
    """What a control node asked for is known: a branch's `truth`, or a name for each item of a loop."""

    at_ms: int
    node: str
    names: tuple[str, ...] = ()
    truth: bool = False
    failure: Failure | None = None


class Woke(Change, frozen=True, tag="woke"):
    """A moment that the core asked to be woken at has come."""

    at_ms: int


class CancelRequested(Change, frozen=True, tag="cancel_requested"):
    """The user wants the run to end; a second time: at once."""

    at_ms: int


class Reorder(Change, frozen=True, tag="schedule", omit_defaults=True):
    """The order of starts in a schedule computed ahead, in ms from now, counts as priority from now on.

    Without `starts_ms` all stays as it is, and no other schedule is computed.
    """

    at_ms: int
    starts_ms: dict[str, int] = {}
    makespan_ms: int = 0


class Start(Change, frozen=True, tag="start"):
    """Run a node. `key` identifies the computation: operator, code, arguments, and so on upstream."""

    at_ms: int
    node: str
    attempt: int
    placement: Placement
    key: str


class Resolve(Change, frozen=True, tag="resolve"):
    """Read what a control node depends on: `Resolved` is to follow."""

    at_ms: int
    node: str


class Kill(Change, frozen=True, tag="kill"):
    """End an attempt: gently, so that it has `grace_ms` to write down where it is, or by force.

    `by` names what its place is taken for, if it is `preempted`.
    """

    at_ms: int
    node: str
    attempt: int
    reason: KillReason
    force: bool = False
    grace_ms: int = GRACE_MS
    by: str = ""


class Retry(Change, frozen=True, tag="retry"):
    """A node that failed, or was `preempted`, becomes ready again at `ready_at_ms`.

    `lost`: its process was, through no fault of its own.
    """

    at_ms: int
    node: str
    ready_at_ms: int
    lost: bool = False
    preempted: bool = False


class Fail(Change, frozen=True, tag="fail"):
    """A node failed for good: by its last attempt, or by a `failure` that no attempt had part in."""

    node: str
    failure: Failure | None = None


class Block(Change, frozen=True, tag="block"):
    """A node can never run, because one that it depends on failed or was cancelled."""

    node: str
    by: str


class Skip(Change, frozen=True, tag="skip"):
    """A node is not going to run, as it is in a branch that is not taken, or needs one that is."""

    node: str
    by: str


class Cancel(Change, frozen=True, tag="cancel"):
    """A node is not going to run, because the run was cancelled."""

    node: str


class Finish(Change, frozen=True, tag="finish"):
    """Nothing is left to do."""

    at_ms: int
    status: RunStatus


Event = Opened | Exited | Resolved | Woke | CancelRequested
Command = Reorder | Start | Resolve | Kill | Retry | Fail | Block | Skip | Cancel | Finish
AnyChange = Event | Command
