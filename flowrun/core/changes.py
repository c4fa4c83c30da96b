"""Everything that can happen to a run, as closed unions. The run log is a list of these.

Events come from the world; commands are the core's decisions, which the shell then carries out. Applying
the changes of a log in order gives the state that the run had, whatever the policy is by then. Times are
milliseconds since the epoch.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from flowc.plan.model import Resources
from flowrun.core.model import Artifact, Capacity, Failure, Inputs, Kind, Origin, Placement, RunStatus, Usage
from flowrun.core.sharing.teams import Sharing

KillReason = Literal["timeout", "cancelled", "preempted", "memory", "hang"]
GRACE_MS = 5000  # between asking a process to end and ending it


class Change(msgspec.Struct, frozen=True, tag_field="change", omit_defaults=True):
    """A row of the run log."""


class Earlier(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a node did before the run was resumed. With an artifact it is done; without, it starts over.

    The nodes of a loop are not there yet when the run is opened: theirs counts if they have the same `key`.
    `origin` computed the artifact, if this run did not.
    """

    attempt: int
    started_ms: int = 0
    ended_ms: int = 0
    usage: Usage = Usage()
    artifact: Artifact | None = None
    key: str = ""
    origin: Origin | None = None


class Outsider(msgspec.Struct, frozen=True, omit_defaults=True):
    """What somebody else on the host holds."""

    by: str
    placement: Placement


class Submission(msgspec.Struct, frozen=True, omit_defaults=True):
    """Whose a run is, and how important, where many share a host.

    When it has ended, it is sent to the URLs of `otel` and `openlineage`, and those of `on_end` are told.
    """

    team: str
    tier: int
    priority: int = 0
    otel: str = ""
    openlineage: str = ""
    on_end: tuple[str, ...] = ()


class Opened(Change, frozen=True, tag="opened"):
    """The run began, or was resumed after what `earlier` tells of its nodes.

    `submission` is there if a daemon executes it, and `sharing`, the teams as they were configured then.
    `elsewhere` is what other processes hold of the host.
    Results of other runs may be taken if `cached`, but not for the nodes or sites that `refresh` names.
    """

    at_ms: int
    plan: str  # hash of the plan file
    inputs: Inputs
    capacity: Capacity
    earlier: dict[str, Earlier] = {}
    versions: dict[str, str] = {}  # of the installed packages that operators import
    submission: Submission | None = None
    sharing: Sharing | None = None
    elsewhere: tuple[Outsider, ...] = ()
    cached: bool = True
    refresh: tuple[str, ...] = ()


class Exited(Change, frozen=True, tag="exited"):
    """An attempt ended: with an artifact, or with a failure.

    `elsewhere` is what other processes hold of the host, if it could not start because of that.
    """

    at_ms: int
    node: str
    attempt: int
    artifact: Artifact | None = None
    failure: Failure | None = None
    usage: Usage = Usage()
    elsewhere: tuple[Outsider, ...] | None = None


class Exceeded(Change, frozen=True, tag="exceeded"):
    """An attempt was over a limit: it had `used` MB of `memory`, or gave no sign of life for so many ms."""

    at_ms: int
    node: str
    attempt: int
    reason: Literal["memory", "hang"]
    used: int


class Resolved(Change, frozen=True, tag="resolved"):
    """What a control node asked for is known: a branch's `truth`, or a name for each item of a loop."""

    at_ms: int
    node: str
    names: tuple[str, ...] = ()
    truth: bool = False
    failure: Failure | None = None


class Verified(Change, frozen=True, tag="verified"):
    """Whether an artifact, which a node could take, is there with all its parts as their hashes say."""

    at_ms: int
    node: str
    artifact: str
    sound: bool


class Elsewhere(Change, frozen=True, tag="elsewhere"):
    """What other processes hold of the host from now on: all of it, in the place of what they held before."""

    at_ms: int
    held: tuple[Outsider, ...] = ()


class Woke(Change, frozen=True, tag="woke"):
    """A moment that the core asked to be woken at has come."""

    at_ms: int


class CancelRequested(Change, frozen=True, tag="cancel_requested"):
    """The user wants the run to end; a second time: at once."""

    at_ms: int


class Tagged(Change, frozen=True, tag="tagged"):
    """People sort the run under these tags; an empty value takes a tag away.

    Not among the changes of the run's log, as it comes at any time from anybody, but in one beside it.
    """

    at_ms: int
    tags: dict[str, str]


class Point(msgspec.Struct, frozen=True, array_like=True):
    """A value of a metric. `step` is the operator's own count, -1 if it has none."""

    name: str
    value: float | Literal["nan", "inf", "-inf"]  # what JSON has no number for, by name
    step: int
    at_ms: int


class Logged(Change, frozen=True, tag="logged"):
    """What an operator logged while it ran, in order: metrics, notes, small artifacts by name.

    Attempt 0 is of another run: the one whose result was reused.
    """

    at_ms: int
    node: str
    attempt: int
    points: tuple[Point, ...] = ()
    notes: tuple[str, ...] = ()
    artifacts: dict[str, Artifact] = {}


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


class Reuse(Change, frozen=True, tag="reuse"):
    """A node need not run: its `origin` computed the same before."""

    at_ms: int
    node: str
    artifact: Artifact
    origin: Origin


class Verify(Change, frozen=True, tag="verify"):
    """A node need not run if the artifact of its `origin`, which computed the same, is sound.

    `Verified` is to follow; until then the node does not start.
    """

    at_ms: int
    node: str
    artifact: Artifact
    origin: Origin


class Resolve(Change, frozen=True, tag="resolve"):
    """Read what a control node depends on: `Resolved` is to follow."""

    at_ms: int
    node: str


class Kill(Change, frozen=True, tag="kill"):
    """End an attempt: gently, so that it has `grace_ms` to write down where it is, or by force.

    `by` names what its place is taken for, if it is `preempted`; `used` is what it `Exceeded` a limit with.
    """

    at_ms: int
    node: str
    attempt: int
    reason: KillReason
    force: bool = False
    grace_ms: int = GRACE_MS
    by: str = ""
    used: int = 0


class Retry(Change, frozen=True, tag="retry"):
    """A node becomes ready again at `ready_at_ms` after a `kind` of failure; with other `needs`, if given."""

    at_ms: int
    node: str
    ready_at_ms: int
    kind: Kind = "error"
    needs: Resources | None = None


class Redo(Change, frozen=True, tag="redo"):
    """What `sources` made is damaged: they run again, and after them the node that found out."""

    at_ms: int
    node: str
    sources: tuple[str, ...]


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


Event = Opened | Exited | Exceeded | Resolved | Verified | Logged | Elsewhere | Woke | CancelRequested
Command = (
    Reorder
    | Start
    | Reuse
    | Logged
    | Verify
    | Resolve
    | Kill
    | Retry
    | Redo
    | Fail
    | Block
    | Skip
    | Cancel
    | Finish
)
AnyChange = Event | Command
