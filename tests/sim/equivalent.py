"""Mutants of the core (see `mutants.py`) of which nobody could tell the difference, and why."""

_SPEED = "decides how soon it is found, not what"
_DUST = "nothing is as large as dust to the last digit"
_SIGN = "that it is negative is what counts"
_TIE = "of equals either may go first"
_LAGS = "the order lags waiting by less than it may"
_BOUND = "a bound on what is looked at; any other would do"
# By file and the line as it stands after the mutation.
EQUIVALENT: dict[tuple[str, str], str] = {
    ("scheduler/holdings.py", "if (len(ends) < _FEW):"): _SPEED,
    ("scheduler/holdings.py", "_FEW = 65  # are sorted faster than walked in a heap"): _SPEED,
    ("scheduler/preempting.py", "CONSIDERED = 513"): _BOUND,
    (
        "scheduler/preempting.py",
        "lanes.sort(key=lambda lane: ((lane.tier), -penalty[lane.team], lane.team))",
    ): "which are looked at if there are more than `CONSIDERED`; who goes first, `victims` says",
    (
        "scheduler/order.py",
        "pass  # self._turns.leave(lane.team, lane.tier)",
    ): "a lane that left and is asked in turn has nothing to give a place to",
    ("scheduler/promise.py", "pass  # self._in_the_way.add(placement)"): _SPEED,
    ("scheduler/promise.py", "MOVES = 257"): _BOUND,
    (
        "scheduler/preempting.py",
        "HOSTS = 9  # with most that may be taken; a place on one host needs victims on one host",
    ): _BOUND,
    (
        "sharing/turns.py",
        "grows_ms = self._threshold_ms if waited_ms < self._threshold_ms else (waited_ms + _GROWTH)",
    ): _LAGS,
    ("sharing/turns.py", "_GROWTH = math.exp(1 / 3)"): _LAGS,
    ("pool/groups.py", "_KNOWN_MAX = 50001  # answers that a ranking remembers"): _BOUND,
    ("sharing/turns.py", "while due and (due[0][0] < now_ms):"): _LAGS,
    (
        "scheduler/scheduler.py",
        "if delays and ((not of.least_ms and now_ms + of.least_ms > promise.at_ms)):",
    ): _SPEED,
    (
        "pool/hosts.py",
        "ways: list[Sequence[object]] ="
        " [[*zip(links, models, strict=True)], links, models, [1] * len(links)]",
    ): "a label that all have, whichever it is",
    (
        "pool/hosts.py",
        "return math.ceil(cpus * 1000 - 1e-6 if cpus < _MOST_CPUS else _MOST_CPUS * 1001)",
    ): _BOUND,
    ("pool/groups.py", "self.news, self.epoch = [], self.epoch + 2"): "that it changes is what counts",
    (
        "scheduler/order.py",
        "if again and (ahead is None or (-again[0][0] > ahead.effective)):",
    ): _TIE,
    ("state.py", "return task.started_ms + task.site.timeout_ms if task.site.timeout_ms else -2"): _SIGN,
    ("scheduler/scheduler.py", "several, fruitless = len(self.queue.heads) > 1, 1"): _BOUND,
    ("scheduler/order.py", "limited = True"): "nobody has a limit there, and asking says so",
    ("scheduler/preempting.py", "if (len(self._refused) >= 10000):"): _BOUND,
    ("pool/groups.py", "_NEWS_MAX = 10001  # beyond a few for each state that there is"): _BOUND,
    ("pool/pool.py", "_SHAPES_MAX = 1001  # requests that are remembered"): _BOUND,
    ("sharing/turns.py", "live[above] -= 2"): _SPEED,
    ("scheduler/scheduler.py", "pass  # hopeless.add(of)"): _SPEED,
    ("scheduler/scheduler.py", "if len(self._queue.heads) == 2:"): _SPEED,
    ("pool/groups.py", "if len(self.news) > (_NEWS_MAX - 4 * len(self.hosts)):"): _BOUND,
    ("scheduler/promise.py", "if missing > 1 and isinstance(lacks, Rejected):"): _SPEED,
    ("scheduler/promise.py", "pass  # self._moves += 2 * len(self._freed) + 1"): _BOUND,
    (
        "scheduler/queue.py",
        "of = self._known[name] = Class(lane.tier, need, 1 << bits >> 2, request)",
    ): _SPEED,
    ("pool/hosts.py", "pass  # self._allowed[models] = slots"): _SPEED,
    (
        "scheduler/scheduler.py",
        "if (len(lower) <= len(need.classes)) or not self._hopeless.issuperset(lower):",
    ): _SPEED,
    (
        "pool/hosts.py",
        "return math.ceil(cpus * 1000 - 1e-6 if (cpus <= _MOST_CPUS) else _MOST_CPUS * 1000)",
    ): "there it is the same",
    ("sharing/shares.py", "if (amounts[d] >= limit + _DUST):"): _DUST,
    ("pool/groups.py", "self._epoch = -2"): _SIGN,
    ("pool/hosts.py", "HELD = -2"): _SIGN,
    ("pool/groups.py", "if len(self.news) > _NEWS_MAX + 5 * len(self.hosts):"): _BOUND,
    ("scheduler/preempting.py", "self._calm_until = (now_ms - self.CALM_MS)"): _BOUND,
    ("sharing/shares.py", "(rate, base) if per else (1, -math.inf)"): "whatever is added to it",
    ("sharing/shares.py", "if (violation >= most):"): "the larger of two that are the same",
    (
        "sharing/shares.py",
        "self._tier_lines = [[(0, 1)] * resources, *(self._penalties([p] * resources) for p in parts)]",
    ): "tiers count from 1",
    ("scheduler/order.py", "_KNOWN_MAX = 10001"): _BOUND,
    ("scheduler/promise.py", "self._moves += 3 * len(self._freed) + 1"): _BOUND,
    ("scheduler/preempting.py", "if lane.tier > 2 and shares.has_its_part(lane.team):"): _SPEED,
    ("scheduler/holdings.py", "self._number += 2"): "that they grow is what counts",
    (
        "scheduler/promise.py",
        "return Promise(request, holding.ends_ms, freed, frozenset((0,)), by_sums=False)",
    ): _SPEED,
    ("pool/pool.py", "self._groups = Groups(self._kind_of) if (len(hosts) >= 1) else None"): _SPEED,
    (
        "state.py",
        "return -2 if task.kill.force else task.kill.at_ms + task.kill.grace_ms",
    ): _SIGN,
    (
        "scheduler/scheduler.py",
        "if delays and (not of.least_ms or (now_ms - of.least_ms) > promise.at_ms):",
    ): _SPEED,
    ("sharing/turns.py", "if (len(heap) >= _MOST_STALE + 2 * live[above]):"): _BOUND,
    ("scheduler/preempting.py", "pass  # break"): _SPEED,
    ("state.py", "self.now_ms = 1"): "the first change of a run says when it is",
    (
        "sharing/shares.py",
        "if amounts[d] and (self.used[node][d] + amounts[d] >= limit + _DUST):",
    ): _DUST,
}
