"""Plans and runs as short text.

A line of a graph is a node, what it depends on, and settings::

    train[a] < load split  cpus=2 retries=1 reads=epochs depth=3

Settings of the site are `cpus`, `memory`, `gpus`, `gpu_memory`, `gpus_max`, `hosts_max`, `linked`, `models`
(`A100,H100`), `uses` (`licence:2,seat:1`), `estimate` (milliseconds), `retries`, `backoff`, `timeout`,
`heartbeat`, `retry_on` (`crash,hang`), `isolation`, `priority`, `cache`, `op`, `code`, `gives`, `control`;
they are those of the first node of a site. `reads` names inputs of the workflow, `after`, `when` and `unless`
name nodes, `trigger` says when a handler runs, and all else is an argument, written as JSON. What a control
node depends on is, in this order::

    big    control=branch < flag               m control=map    < items shared
    either control=choose < big this that      r control=reduce < items initial

`run.done("train[a]")` and `run.knows("big", True)` are events, and the core's decisions come back as text,
too: `["start eval.1", "finish succeeded"]`.
"""

import json

from flowc.plan.graph import dependencies, levels
from flowc.plan.model import Estimate, Header, Input, Node, Plan, Resources, Site, Span, site_of
from flowrun.core.changes import (
    Block,
    Cancel,
    CancelRequested,
    Exceeded,
    Exited,
    Fail,
    Finish,
    Kill,
    Logged,
    Opened,
    Redo,
    Reorder,
    Resolve,
    Resolved,
    Retry,
    Reuse,
    Skip,
    Start,
    Verified,
    Verify,
    Woke,
)
from flowrun.core.decide import decide
from flowrun.core.model import Artifact, Capacity, Failure, Gpu, Usage
from flowrun.core.state import State

_AMOUNTS = {
    "cpus": "cpus",
    "memory": "memory_mb",
    "gpus": "gpus",
    "gpu_memory": "gpu_memory_mb",
    "gpus_max": "gpus_max",
    "hosts_max": "hosts_max",
    "linked": "linked",
}
_LIMITS = {
    "retries": "retries",
    "backoff": "backoff_ms",
    "timeout": "timeout_ms",
    "heartbeat": "heartbeat_ms",
    "priority": "priority",
    "cache": "cache",
}
_PARAMETERS = {
    "none": (),
    "branch": ("condition",),
    "choose": ("condition", "then", "otherwise"),
    "map": ("item",),
    "reduce": ("items", "initial"),
}
_EACH = {"map": ("item",), "reduce": ("left", "right")}


def plan(text, inputs=None, result=None, name="main"):
    """The plan that a text describes. `inputs` are types, or pairs of a type and a default."""
    sites, nodes = {}, []
    for line in filter(str.strip, text.splitlines()):
        words = line.split()
        node_id = words[0]
        settings = dict(word.split("=", 1) for word in words[1:] if "=" in word)
        sources = [word for word in words[1:] if "=" not in word and word != "<"]
        site = site_of(node_id)
        if site not in sites:
            sites[site] = _site(site, settings)
        names = [*_PARAMETERS[sites[site].control], *(f"a{i}" for i in range(len(sources)))]
        args = {name: {"from": source} for name, source in zip(names, sources, strict=False)}
        args |= {read: {"input": read} for read in settings.pop("reads", "").split(",") if read}
        conditions = {
            name: tuple(filter(None, settings.pop(name, "").split(",")))
            for name in ("after", "when", "unless")
        }
        trigger = settings.pop("trigger", "success")
        args |= {name: json.loads(value) for name, value in settings.items()}
        nodes.append(Node(node_id, args, **conditions, trigger=trigger))
        sites[site].takes.update(dict.fromkeys(args, "Any"))
    declared = {n: Input(*t) if isinstance(t, tuple) else Input(t) for n, t in (inputs or {}).items()}
    return Plan(
        Header(1, f"flows:{name}", inputs=declared, result=result),
        sites=tuple(sites.values()),
        nodes=tuple(nodes),
        levels=levels(nodes, dependencies(nodes)),
        spans=tuple(Span(site, f"flows.py:{i + 1}:1") for i, site in enumerate(sites)),
    )


def _site(site, settings):
    amounts = {long: settings.pop(short) for short, long in _AMOUNTS.items() if short in settings}
    needs = {name: (float if name == "cpus" else int)(value) for name, value in amounts.items()}
    needs["linked"] = bool(needs.get("linked"))
    needs["gpu_models"] = tuple(filter(None, settings.pop("models", "").split(",")))
    uses = (use.split(":") for use in filter(None, settings.pop("uses", "").split(",")))
    needs["uses"] = tuple(sorted((name, int(amount)) for name, amount in uses))
    limits = {long: int(settings.pop(short)) for short, long in _LIMITS.items() if short in settings}
    op = settings.pop("op", f"flows:{site.replace('/', '_')}")
    code, gives = settings.pop("code", "c0de"), settings.pop("gives", "Any")
    limits["retry_on"] = tuple(sorted(filter(None, settings.pop("retry_on", "").split(","))))
    limits["isolation"] = settings.pop("isolation", "warm")
    limits["cache"] = bool(limits.get("cache", True))
    control = settings.pop("control", "none")
    each = _EACH.get(control, ())
    limits["estimate"] = Estimate(int(settings.pop("estimate", 0)))
    return Site(site, op, code, {}, gives, needs=Resources(**needs), **limits, control=control, each=each)


def host(cpus=2, memory=1000, gpus=()):
    """A host; `gpus` are the memories of its GPUs."""
    return Capacity(cpus, memory, tuple(Gpu(i, "GPU", mb) for i, mb in enumerate(gpus)))


class Run:
    """A run of a graph. Each event returns what the core decided; `now` is the time in milliseconds."""

    def __init__(self, text, on=None, inputs=None, earlier=None, now=0, cache=None, versions=None):
        self.plan = text if isinstance(text, Plan) else plan(text)
        self.state = State(self.plan, inputs or {}, versions, cache=cache)
        self.now = now
        self.opened = self._step(Opened(now, "plan", inputs or {}, on or host(), earlier or {}))

    def done(self, node, artifact="a" * 64, attempt=0):
        return self._step(Exited(self.now, node, attempt or self[node].attempt, Artifact(artifact, 10)))

    def fails(self, node, code="FR201", attempt=0, wanted=0, **usage):
        failure, attempt = Failure(code, "it broke", wanted_mb=wanted), attempt or self[node].attempt
        return self._step(Exited(self.now, node, attempt, failure=failure, usage=Usage(**usage)))

    def finds_damage(self, node, artifact):
        failure = Failure("FR306", "it is damaged", damaged=artifact)
        if self[node].site.control != "none":
            return self.knows(node, failure)
        return self._step(Exited(self.now, node, self[node].attempt, failure=failure))

    def exceeds(self, node, reason, used=0, attempt=0):
        return self._step(Exceeded(self.now, node, attempt or self[node].attempt, reason, used))

    def is_lost(self, node):
        return self.fails(node, "FR207")

    def knows(self, node, answer):
        """What a control node asked for: whether a condition holds, the number or the names of items."""
        match answer:
            case bool():
                return self._step(Resolved(self.now, node, truth=answer))
            case Failure():
                return self._step(Resolved(self.now, node, failure=answer))
            case int():
                return self._step(Resolved(self.now, node, names=tuple(map(str, range(answer)))))
            case _:
                return self._step(Resolved(self.now, node, names=tuple(answer)))

    def verified(self, node, sound, artifact=""):
        hit = self.state.verifying.get(node)
        return self._step(Verified(self.now, node, artifact or hit.artifact.hash, sound))

    def cancel(self):
        return self._step(CancelRequested(self.now))

    def wake(self, at):
        self.now = at
        return self._step(Woke(at))

    def states(self):
        """`{"running": "a b", "pending": "c"}`"""
        found = {}
        for task in self.state.tasks:
            found.setdefault(task.state, []).append(task.node.id)
        return {state: " ".join(ids) for state, ids in found.items()}

    def __getitem__(self, node):
        return self.state.by_id[node]

    def _step(self, event):
        return [say(command) for command in decide(self.state, event)]


def _on_gpus(needs):
    return f" and {needs.gpu_memory_mb} MB a GPU" if needs and needs.gpu_memory_mb else ""


def say(command):
    """A command as text."""
    match command:
        case Start(node=node, attempt=attempt, placement=placement):
            gpus = f" on gpu {','.join(map(str, placement.gpus))}" if placement.gpus else ""
            return f"start {node}.{attempt}{gpus}"
        case Reuse(node=node, origin=origin):
            return f"reuse {node} of {origin}"
        case Logged(node=node, notes=notes):
            return f"logged {' '.join(notes)} by {node}"
        case Verify(node=node, origin=origin):
            return f"verify {node} of {origin}"
        case Resolve(node=node):
            return f"resolve {node}"
        case Reorder(starts_ms=starts, makespan_ms=ms):
            return f"schedule {len(starts)} nodes in {ms / 1000:g} s"
        case Kill(node=node, attempt=attempt, reason=reason, force=force):
            return f"kill {node}.{attempt} {reason}{' by force' if force else ''}"
        case Retry(node=node, ready_at_ms=at, kind=kind, needs=needs):
            note = "" if kind == "error" else f" ({kind})"
            more = f" with {needs.memory_mb} MB" if needs else ""
            return f"retry {node} at {at}{note}{more}{_on_gpus(needs)}"
        case Redo(node=node, sources=sources):
            return f"redo {' '.join(sources)}, then {node}"
        case Fail(node=node):
            return f"fail {node}"
        case Block(node=node, by=by):
            return f"block {node} by {by}"
        case Skip(node=node, by=by):
            return f"skip {node} by {by}" if by else f"skip {node}"
        case Cancel(node=node):
            return f"cancel {node}"
        case Finish(status=status):
            return f"finish {status}"
