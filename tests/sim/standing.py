"""What must hold of a run after each step, and when it has come to its end."""

from books import demand

from flowc.plan.model import sources_of


def picture(state):
    """All that there is to a state, for comparing."""
    return (
        state.tasks,
        sorted(state.running),
        (state.status, state.unfinished, state.cancelling, state.opened_ms, state.ended_ms),
        (state.results, state.earlier, state.verifying),
        state.clock.next_ms(),
    )


def check_state(ledger, asked, now, woke):
    """The log gives the state, nothing is left undecided, nobody is over their time."""
    state = ledger.state
    demand(picture(ledger.shadow) == picture(state), "the log does not give the state")
    demand(set(state.running) == {node for node, _ in ledger.held}, "running:", set(state.running))
    demand(state.unfinished == sum(t.state in ("pending", "ready", "running") for t in state.tasks))
    demand((state.status == "running") == (state.unfinished > 0), "the run is", state.status)
    demand(
        not (state.doomed or state.unresolved or state.hopeful), "undecided:", state.doomed, state.unresolved
    )
    demand(not ledger.fallen, "nothing was decided about", ledger.fallen)
    for task in state.tasks:
        _check_task(ledger, task, asked, now)
    wake = state.clock.next_ms()
    if woke and state.status == "running":
        now -= any(
            kill.at_ms == now and not kill.grace_ms for kill in ledger.kills.values()
        )  # is due at once
        demand(wake is None or wake > now, "it wakes, and does nothing about", wake)
    for task in state.running.values():
        _check_running(ledger, task, wake)


def _check_running(ledger, task, wake):
    if task.site.control != "none":
        return
    node = task.node.id
    kill = ledger.kills.get((node, task.attempt))
    limit = task.started_ms + task.site.timeout_ms if task.site.timeout_ms and not kill else None
    if kill and not kill.force:
        limit = kill.at_ms + kill.grace_ms
    demand(limit is None or (wake is not None and wake <= limit), node, "has no deadline")
    demand(not ledger.is_cancelled(node) or kill, node, "runs on, though the run is cancelled")
    demand(ledger.cancelled < 2 or kill.force, node, "runs on, though the user insists")


def _check_task(ledger, task, asked, now):
    node = task.node.id
    if task.site.control != "none":
        _check_control(ledger, task, asked)
    elif task.state == "succeeded":
        made = ledger.made[node].artifact
        demand(made == task.artifact == ledger.oracle.artifact(node), node, "has another result")
    books = ledger.retried[node]
    demand(task.retried == books, node, "has counted", task.retried, "instead of", books)
    waits = task.state in ("pending", "ready")
    demand(not (waits and node in ledger.ends), node, "came back to life")
    if waits:
        gone = [
            ref
            for ref in ledger.needs(node)
            if ledger.is_in(ref, "failed", "blocked", "skipped", "cancelled")
        ]
        demand(not gone, node, "still waits, though", gone, "will never be done")
        demand(not ledger.is_cancelled(node), node, "still waits, though the run is cancelled")
        verifying = node in ledger.state.verifying
        demand(not (verifying and task.state == "ready"), node, "could start while its result is looked at")
        ready = not ledger.lacks(node) and ledger.not_before_ms[node] <= now
        if task.state == "pending" and ready and not verifying:
            chooses = task.site.control == "choose"
            not_before = ledger.not_before_ms[node]
            demand(chooses or not_before > 0, node, "is not ready")
            demand(chooses or (ledger.state.clock.next_ms() or 0) >= not_before, node, "sleeps on")


def _check_control(ledger, task, asked):
    """A control node has no process, and comes to what its answer says."""
    node, state, oracle = task.node.id, task.state, ledger.oracle
    demand(task.attempt == 0 and task.artifact is None, node, "is no process")
    demand(state != "ready", node, "neither asks nor is done")
    parts = ledger.parts(node)
    if state == "running" and not parts:
        demand(node in asked, node, "waits for an answer to nothing")
    if state == "running" and parts:
        demand(not all(ledger.is_in(part, "succeeded") for part in parts), node, "has all its nodes done")
    if state != "succeeded":
        return
    there = {ref for ref in ledger.needs(node) if ledger.is_in(ref, "succeeded") or ledger.redone[ref]}
    demand(there == ledger.needs(node), node, "has not all that it needs")
    match task.site.control:
        case "branch":
            demand(task.result is oracle.truth(node), node, "is decided wrongly")
        case "map":
            expected = [f"{node}[{name}]" for name in oracle.names(node)]
            demand(parts == expected, node, "has the parts", parts)
            demand(task.result == [{"from": part} for part in parts], node, "comes to", task.result)
        case "reduce":
            items = len(oracle.names(node)) + ("initial" in task.node.args)
            demand(len(parts) == items - 1, node, "has the parts", parts)
    for ref in sources_of(task.result):
        demand(ledger.state.by_id[ref].site.control == "none", node, "comes to a control node")
        there = ledger.is_in(ref, "succeeded") or ledger.redone[ref]
        demand(there, node, "comes to what is not there")


def check_done(ledger):
    """Without faults, all that is not skipped is done; which that is, is worked out here once more."""
    oracle, state = ledger.oracle, ledger.state
    demand(state.status == "succeeded", "it does not end:", state.status)
    skipped = set()
    for node in oracle.plan.nodes:
        args = dict(node.args)
        missed = [b for b in node.when if b in skipped or not oracle.truth(b)]
        missed += [b for b in node.unless if b in skipped or oracle.truth(b)]
        if oracle.control(node.id) == "choose":
            branch = args["condition"]["from"]
            args.pop("otherwise" if branch in skipped or oracle.truth(branch) else "then", None)
        missed += [ref for tree in args.values() for ref in sources_of(tree) if ref in skipped]
        if missed or node.trigger == "failure":
            skipped.add(node.id)
    found = {task.node.id for task in state.tasks if task.state == "skipped"}
    demand(found == skipped, "skipped are", found, "instead of", skipped)


def is_hopeless(ledger):
    """Whether a run came to its end, and failed for no other reason than that some nodes can never start."""
    tasks = ledger.state.tasks
    for task in tasks:
        if task.state == "succeeded" and task.site.control == "none" and task.origin is None:
            could = ledger.order.could_ever_start(ledger, task)
            demand(could, task.node.id, "succeeded, though it could never start")
    failed = [task for task in tasks if task.state == "failed"]
    return ledger.state.status == "failed" and all(task.failure.code == "FR210" for task in failed)
