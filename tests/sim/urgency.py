"""Who comes first on a host that one run has to itself, and what is kept free for whom.

The most urgent that does not fit may be kept a place; what starts before it must not be in its way. Where
everything lasts exactly as long as its estimate says, that is worked out here from what is held: nothing
that starts may make the most urgent wait longer than it had to, and nobody waits longer than was promised.
"""

from books import demand

NEVER = float("inf")


def urgency(task):
    """What orders the tasks of a run: the smallest goes first."""
    return (-task.site.priority, -task.priority, task.index)


class Urgency:
    """Checks every start. `exact`: everything lasts as long as its estimate says, until something does not.

    What ends early may have been part of a promise, which is then kept as it was made, though by now it could
    be a better one.
    """

    notice_ms = None

    def __init__(self, hosts, exact):
        self.hosts = hosts
        self.exact = exact
        self._promised = None  # the most urgent that does not fit, and when it should at the latest

    def before_start(self, ledger, start, task):
        """More urgent ones do not fit, or come after one that does not."""
        waiting = ledger.waiting()
        for other in waiting:
            if urgency(other) < urgency(task):
                ahead = self._fits(other) and not self._first_misfit(waiting, other)
                demand(not ahead, start.node, "started before", other.node.id, "which is more urgent")
        if self.exact:
            self._check_promise(ledger, start, task, self._first_misfit(waiting, task))
            if self._promised is not None and urgency(task) < urgency(self._promised[0]):
                self._promised = None  # somebody more urgent came

    def before_preemption(self, ledger, kill, task):
        demand(False, "nobody is there for whom to take a place:", kill)

    def could_ever_start(self, ledger, task):
        return self.hosts.ever_fits(task.needs)

    def could_ever_have(self, ledger, needs):
        return self.hosts.ever_fits(needs)

    def after_exit(self, ledger, start, exited):
        """Notice what ends earlier than it should."""
        if exited.at_ms != start.at_ms + _estimate(ledger, start.node):
            self.exact = False

    def after_step(self, ledger, now):
        """Nothing idles that could run."""
        waiting = ledger.waiting()
        for task in waiting:
            kept = self._first_misfit(waiting, task)
            demand(not self._fits(task) or kept, task.node.id, "idles")
            if kept and self.exact and self._fits(task) and not ledger.kills:
                before = self._earliest(ledger, kept)
                after = self._earliest(ledger, kept, task, now)
                delays = now + task.site.estimate.ms > before and after > before
                reason = delays or before == NEVER or self._is_behind_like(waiting, task)
                demand(reason, task.node.id, "idles, and would be in nobody's way")
        if self.exact:
            self._follow_promise(ledger, waiting, now)

    def _fits(self, task):
        return self.hosts.fits(task.needs)

    def _first_misfit(self, waiting, task):
        """The most urgent of those that are more urgent than a task and do not fit."""
        ahead = [o for o in waiting if urgency(o) < urgency(task) and not self._fits(o)]
        return min(ahead, key=urgency, default=None)

    def _is_behind_like(self, waiting, task):
        """Whether another one stands before a task that needs the same and lasts about as long: only the
        first of such is looked at."""
        like = (task.needs, task.site.estimate.ms.bit_length())
        others = [other for other in waiting if urgency(other) < urgency(task)]
        return any((other.needs, other.site.estimate.ms.bit_length()) == like for other in others)

    def _check_promise(self, ledger, start, task, kept):
        if kept is None or ledger.kills:  # what is killed ends at another time than it was meant to
            return
        before, after = self._earliest(ledger, kept), self._earliest(ledger, kept, task, start.at_ms)
        demand(after <= before, start.node, "makes", kept.node.id, "wait until", after, "instead of", before)

    def _earliest(self, ledger, wanted, task=None, now=0):
        """When a task finds a place at the latest, if nothing else starts, or only another `task` now."""
        ends = {(ledger.run, *key): s.at_ms + _estimate(ledger, key[0]) for key, s in ledger.held.items()}
        if task is not None:
            key = ("", "it", 0)
            placement = ledger.shadow.scheduler.pool.place(task.needs)
            self.hosts.held[key] = placement
            ends[key] = now + task.site.estimate.ms
        found = NEVER
        for at in sorted({*ends.values()}):
            if self.hosts.fits(wanted.needs, without={key for key, end in ends.items() if end <= at}):
                found = at
                break
        if task is not None:
            self.hosts.release(key)
        return found

    def _follow_promise(self, ledger, waiting, now):
        """The first of all that does not fit is promised a time, and gets its place by then."""
        if self._promised is not None:
            task, by = self._promised
            if any(urgency(other) < urgency(task) for other in waiting) or ledger.kills:
                self._promised = None  # somebody more urgent came
            elif task.node.id not in {other.node.id for other in waiting}:
                self._promised = None
            else:
                demand(now <= by, task.node.id, "was to have its place by", by, "and it is", now)
        misfits = [task for task in waiting if not self._fits(task)]
        first = min(waiting, key=urgency, default=None)
        if self._promised is None and first in misfits and not ledger.kills:
            at = self._earliest(ledger, first)
            self._promised = (first, at) if at < NEVER else None


def _estimate(ledger, node):
    return ledger.shadow.by_id[node].site.estimate.ms
