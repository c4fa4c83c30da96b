"""The rows of a plan, as plain data. The format is specified in `docs/formats/plan.md`.

A **site** is a call of an operator in the source; a **node** is one traced call of it. Node ids are paths,
`scope/name[loop key]`; leaving out the bracketed keys gives the site's id.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import msgspec

FORMAT = 1

Amount = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]
Control = Literal["none", "map", "reduce", "branch", "choose"]
Trigger = Literal["success", "failure", "always"]
Origin = Literal["default", "declared", "history", "earlier"]
Isolation = Literal["warm", "fork", "fresh"]
FailureKind = Literal["error", "crash", "timeout", "hang", "memory"]  # those of an operator's own
Reference = Annotated[str, msgspec.Meta(pattern="^[^:]+:[^:]+$")]  # module:name


class Row(msgspec.Struct, frozen=True, tag_field="kind", forbid_unknown_fields=True, omit_defaults=True):
    """A line of the plan file; `kind` tells which."""


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A workflow input: its type expression, and its default unless one must be given."""

    type: str = "Any"
    default: Any = msgspec.UNSET

    @property
    def required(self) -> bool:
        """Whether a run must give a value."""
        return self.default is msgspec.UNSET


class Header(Row, frozen=True, tag="plan"):
    """The first row: which workflow, its inputs, and its result as an argument tree.

    `root` is the folder, relative to the project's, that must be importable (omitted when it is `.`);
    `static` are the inputs that were fixed when the plan was compiled; `about` is the first paragraph of the
    workflow's docstring.
    """

    format: int
    workflow: Reference
    root: str = "."
    inputs: dict[str, Input] = {}
    result: Any = None
    static: dict[str, Any] = {}
    about: str = ""

    @property
    def name(self) -> str:
        """The workflow's bare name."""
        return self.workflow.rpartition(":")[2]


class Structure(Row, frozen=True, tag="type"):
    """A class with named fields, with bases, or with the values of an enumeration.

    `positional` names the fields of a NamedTuple in order. `parameters` are the variables of a generic class,
    as `'T` in its fields; `-T` is contravariant. Fields with `defaults`, or `optional` ones, may be left out.
    """

    type: Reference
    fields: dict[str, str] = {}
    bases: tuple[str, ...] = ()
    positional: tuple[str, ...] = ()
    parameters: tuple[str, ...] = ()
    values: tuple[str | Whole | bool | None, ...] = ()
    defaults: dict[str, Any] = {}
    optional: tuple[str, ...] = ()


class Resources(msgspec.Struct, frozen=True, cache_hash=True, forbid_unknown_fields=True, omit_defaults=True):
    """What a node holds while it runs. `gpu_memory_mb` is per GPU.

    With `gpus_max` it makes use of up to so many GPUs, and starts with any number from `gpus` on. They are of
    one of `gpu_models` if there are any, and joined by NVLink if `linked`. `uses` are amounts of named
    resources, such as licences, in order of names. With `hosts_max` it may be spread over so many hosts, in
    proportion to its GPUs.
    """

    cpus: Annotated[float, msgspec.Meta(ge=0)] = 1
    memory_mb: Amount = 0
    gpus: Amount = 0
    gpu_memory_mb: Amount = 0
    gpus_max: Amount = 0
    gpu_models: tuple[Name, ...] = ()
    linked: bool = False
    uses: tuple[tuple[Name, Amount], ...] = ()
    hosts_max: Annotated[int, msgspec.Meta(ge=1, le=2**63 - 1)] = 1


NOTHING = Resources(cpus=0)  # what the scheduler's own nodes need


class Estimate(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """How long one call takes, and the most memory that it was seen to take: for planning, never a limit.

    `source` is where the numbers come from: `declared` by the operator, measured in `runs` calls of the same
    code (`history`) or of an `earlier` one, or nothing is known (`default`).
    """

    ms: Amount = 0
    source: Origin = "default"
    runs: Amount = 0
    peak_mb: Amount = 0


class Site(Row, frozen=True, tag="site"):
    """A call of an operator in the source, with everything that its nodes share.

    `op` is `module:name`; `code` is a hash of the operator's code and all that it reaches; `takes` and
    `gives` are type expressions; `imports` are the modules that its body imports, worth loading once for all.
    `secrets` and `env` name environment variables that the operator reads. A `deterministic` operator gives
    the same result for the same arguments, and does nothing else. After `heartbeat_ms` without a sign of life
    an attempt counts as hung. Failures of another kind than those in `retry_on`, if there are any, are final.
    `isolation`: a process that runs one node after the other, or one of its own for each attempt, forked from
    one with the imports or started from nothing. `pickles` are the classes in what it gives whose values have
    no stored form but a pickle.

    A site with a `control` has nodes that no process runs: the scheduler acts on what the run knows by then.
      map      calls `op` for each item of the list that parameter `each[0]` is given, and gives the list
      reduce   calls `op` on pairs of `items` (its parameters `each`), then of results, until one is left
      branch   tells the nodes whose `when` or `unless` names it whether `condition` holds
      choose   gives what `then` is if `condition` holds, else what `otherwise` is
    `takes` and `gives` are those of the nodes: a map over `int`s takes a `list[int]`.
    """

    site: Name
    op: Reference
    code: str
    takes: dict[str, str] = {}
    gives: str = "Any"
    needs: Resources = Resources()
    retries: Amount = 0
    backoff_ms: Amount = 1000
    retry_on: tuple[FailureKind, ...] = ()
    timeout_ms: Amount = 0
    heartbeat_ms: Amount = 0
    isolation: Isolation = "warm"
    priority: Whole = 0
    deterministic: bool = False
    cache: bool = True
    secrets: tuple[Name, ...] = ()
    env: tuple[Name, ...] = ()
    estimate: Estimate = Estimate()
    control: Control = "none"
    each: tuple[Name, ...] = ()
    key: str = ""
    imports: tuple[str, ...] = ()
    pickles: tuple[str, ...] = ()


class Code(Row, frozen=True, tag="code"):
    """What the `code` of an operator's sites is made of.

    `parts` has a hash for each thing in the project that the operator's code reaches, itself included:
    `module:name`, `module`, `default NAME`, `closure NAME`. `packages` are the top-level modules of others
    that it imports; their versions count for a run, not for `code`.
    """

    op: Reference
    parts: dict[str, str] = {}
    packages: tuple[str, ...] = ()


class Node(Row, frozen=True, tag="node"):
    """One call. `args` maps parameters to argument trees; `after` names nodes to wait for.

    It runs only if every branch in `when` holds, and none in `unless`. A node with a `trigger` runs once the
    nodes in `after`, and all that they wait for, are over, however they ended: `always`, or only if one in
    `after` failed or could not run for that reason (`failure`).
    """

    id: Name
    args: dict[str, Any] = {}
    after: tuple[str, ...] = ()
    when: tuple[str, ...] = ()
    unless: tuple[str, ...] = ()
    trigger: Trigger = "success"

    @property
    def site(self) -> str:
        """The id of the site that this node is a call of."""
        return site_of(self.id)


class Level(Row, frozen=True, tag="level"):
    """The nodes whose longest path from a root has this many edges; none of them waits for another."""

    level: Amount
    nodes: Amount
    sites: tuple[str, ...]


class Package(Row, frozen=True, tag="package"):
    """The version of a package that operators import, when the plan was compiled; nothing depends on it."""

    package: Name
    version: str


class Span(Row, frozen=True, tag="span"):
    """Where a site stands in the source: `path:line:column`."""

    site: str
    at: str


AnyRow = Header | Structure | Site | Code | Node | Level | Package | Span


class Plan(msgspec.Struct, frozen=True):
    """A whole plan; `nodes` stand in an order in which each comes after all that it depends on."""

    header: Header
    structures: tuple[Structure, ...] = ()
    sites: tuple[Site, ...] = ()
    nodes: tuple[Node, ...] = ()
    levels: tuple[Level, ...] = ()
    spans: tuple[Span, ...] = ()
    codes: tuple[Code, ...] = ()
    packages: tuple[Package, ...] = ()


class Ref(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, rename={"source": "from"}
):
    """The result of a node, or a part of it: `{"from": "parts", "at": ["train"]}`.

    A step of the path is the name of a field, or the index of an item of a list.
    """

    source: str
    at: tuple[str | Amount, ...] = ()


class InputRef(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """The value of a workflow input, or a part of it: `{"input": "epochs"}`."""

    input: str
    at: tuple[str | Amount, ...] = ()


# An argument tree, as it stands in a plan, is JSON in which every object is one of
#   {"from": NODE, "at": [...]}    {"input": NAME, "at": [...]}    {"map": {KEY: TREE, ...}}
# Lists and scalars stand for themselves.


def references(tree: Any) -> Iterator[Ref | InputRef]:
    """Yield every reference in an argument tree, in order of appearance. Without recursion."""
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(reversed(part))
        elif isinstance(part, dict):
            if len(part) == 1 and "map" in part:
                stack.extend(reversed(list(part["map"].values())))
            else:
                yield as_reference(part)


def sources_of(tree: Any) -> list[str]:
    """The nodes that an argument tree refers to, in some order. The tree is taken to be well formed."""
    if type(tree) is dict and "from" in tree:  # by far the most common
        return [tree["from"]]
    found = []
    stack = [tree]
    while stack:
        part = stack.pop()
        if isinstance(part, list):
            stack.extend(part)
        elif isinstance(part, dict):
            if "from" in part:
                found.append(part["from"])
            elif "map" in part:
                stack.extend(part["map"].values())
    return found


def as_reference(part: dict[str, Any]) -> Ref | InputRef:
    """The reference that an object in an argument tree is; `msgspec.ValidationError` if it is none."""
    if "from" in part:
        return msgspec.convert(part, Ref)
    return msgspec.convert(part, InputRef)


def as_tree(ref: Ref | InputRef) -> dict[str, Any]:
    """The object that stands for a reference in an argument tree."""
    tree: dict[str, Any] = {"from": ref.source} if isinstance(ref, Ref) else {"input": ref.input}
    return {**tree, "at": list(ref.at)} if ref.at else tree


_KEYS = re.compile(r"\[[^\[\]]*\]|#[0-9]+")


def site_of(node_id: str) -> str:
    """The site of a node id: `prep[3]/clean[a]#2` is a call of `prep/clean`."""
    return _KEYS.sub("", node_id) if "[" in node_id or "#" in node_id else node_id
