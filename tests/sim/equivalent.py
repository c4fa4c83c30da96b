"""Mutants of the core (see `mutants.py`) of which nobody could tell the difference, and why."""

_BOUND = "a bound on what is looked at, or kept; any other would do"
_SPEED = "decides how soon it is found, not what"
_LAGS = "the order lags waiting by less than it may"
_TIE = "of equals either may go first"
_SIGN = "that it is negative is what counts"
_GROWS = "that it is another one each time is what counts"
_FIRST_OF_MANY = "which are looked at if there are more than `CONSIDERED`; who goes first, `victims` says"
_SAME = "there it is the same"
_UNUSED = "tiers count from 1"
_DUST = "nothing is as large as dust to the last digit"

# By file: lines as they stand after the mutation.
_OF_FILES: dict[str, dict[str, str]] = {
    "clock.py": {
        "return -2 if task.kill.force else task.kill.at_ms + task.kill.grace_ms": _SIGN,
    },
    "state.py": {
        "self.now_ms = 1": "the first change of a run says when it is",
        "pass  # self.opened_ms = 0": "the first change of a run says when it is",
    },
    "failures.py": {
        "MAX_LOSSES = 4  # times that a task is started again after its process was lost through no fault of"
        " its own": _BOUND,
        **{
            f"MAX_BACKOFF_MS = {so_long}": _BOUND
            for so_long in (
                "(10 * 60 + 1000)",
                "(10 + 60) * 1000",
                "10 * 60 * 1001",
                "11 * 60 * 1000",
                "10 * 61 * 1000",
            )
        },
        "LEAST_MB = 513  # asked for by what ran out of memory; less is not worth an attempt": (
            "half of it is what counts"
        ),
        "TAKEN_AGAIN_MS = 51  # until what another process has taken first is asked for again, if nobody is"
        " to be seen": _BOUND,
        'seen = task.kill.used if task.kill is not None and task.kill.reason == "memory" else 1': (
            "less than `LEAST_MB`, which counts"
        ),
    },
    "scheduler/scheduler.py": {
        "LOOKAHEAD = 257  # holdings that are looked at for a promise": _BOUND,
        "FRUITLESS = 65  # lanes one after the other in which nothing may pass the first that does not fit": (
            _BOUND
        ),
        "pass  # self._rejected.clear()": "what is not rejected any more is told so once more",
        "pass  # need.rejected = True": _SPEED,
        "pass  # self._passed[lane] = at  # where the next of its kind comes in, or later": _SPEED,
        "if (need.cpus > cpus and need.rejected and (need.memory_mb > memory_mb)):": _SPEED,
        "need.rejected = False": _SPEED,
        "if of not in hopeless: return True return True": _SPEED,
        "if (len(self._queue.heads) != 1):": _SPEED,
        "pass  # self._hopeless.add(of)": _SPEED,
        "pass  # self._hopeless.update(lower)": _SPEED,
        "if (len(lower) < len(need.classes) and (not self._hopeless.issuperset(lower))):": _SPEED,
        "pass  # scheduler.place(need)": _SPEED,
        "if delays and ((not of.least_ms and now_ms + of.least_ms > promise.at_ms)):": _SPEED,
        "several, fruitless = len(self.queue.heads) > 1, 1": _BOUND,
        "several, fruitless = (len(self.queue.heads) >= 1), 0": _SPEED,
        "while (fruitless <= self.FRUITLESS) and (lane := turns.next()) is not None:": _BOUND,
        "pass  # hopeless.add(of)": _SPEED,
        "blocked = True self._refuse(request) pass  # continue": _SPEED,
        "if (blocked or promise is None):": _SPEED,
        "if len(self._queue.heads) == 2:": _SPEED,
        "if (len(lower) <= len(need.classes)) or not self._hopeless.issuperset(lower):": _SPEED,
        "if delays and (not of.least_ms or (now_ms - of.least_ms) > promise.at_ms):": _SPEED,
    },
    "scheduler/queue.py": {
        "of = self._known[name] = Class(lane.tier, need, 1 << bits >> 2, request)": _SPEED,
    },
    "scheduler/holdings.py": {
        "if (len(ends) < _FEW):": _SPEED,
        "_FEW = 65  # are sorted faster than walked in a heap": _SPEED,
        "self._number += 2": _GROWS,
    },
    "scheduler/order.py": {
        "if again and (ahead is None or (-again[0][0] > ahead.effective)):": _TIE,
        "limited = True": "nobody has a limit there, and asking says so",
        "_KNOWN_MAX = 10001": _BOUND,
    },
    "scheduler/promise.py": {
        "pass  # self._in_the_way.add(placement)": _SPEED,
        "MOVES = 257": _BOUND,
        "missing -= amount_of(holding.placement, lacks.dimension)"
        " if missing > 1e-9: pass  # continue": _SPEED,
        "if missing > 1 and isinstance(lacks, Rejected):": _SPEED,
        "pass  # self._moves += 2 * len(self._freed) + 1": _BOUND,
        "self._moves += 3 * len(self._freed) + 1": _BOUND,
        "self._moves += 2 * len(self._freed) + 2": _BOUND,
    },
    "scheduler/preempting.py": {
        "CONSIDERED = 513": _BOUND,
        "lanes.sort(key=lambda lane: ((lane.tier), -penalty[lane.team], lane.team))": _FIRST_OF_MANY,
        "HOSTS = 9  # with most that may be taken; a place on one host needs victims on one host": _BOUND,
        "if (len(self._refused) >= 10000):": _BOUND,
        "self._calm_until = (now_ms - self.CALM_MS)": _BOUND,
        "if lane.tier > 2 and shares.has_its_part(lane.team):": _SPEED,
        "for rank, _, request, _ in heads: if rank >= ranked[0][0]: pass  # break": _SPEED,
    },
    "pool/pool.py": {
        "_SHAPES_MAX = 1001  # requests that are remembered": _BOUND,
        "self._groups = Groups(self._kind_of) if (len(hosts) >= 1) else None": _SPEED,
    },
    "pool/hosts.py": {
        "ways: list[Sequence[object]] ="
        " [[*zip(links, models, strict=True)], links, models, [1] * len(links)]": "all have it",
        "return math.ceil(cpus * 1000 - 1e-6 if cpus < _MOST_CPUS else _MOST_CPUS * 1001)": _BOUND,
        "pass  # self._allowed[models] = slots": _SPEED,
        "return math.ceil(cpus * 1000 - 1e-6 if (cpus <= _MOST_CPUS) else _MOST_CPUS * 1000)": _SAME,
        "HELD = -2": _SIGN,
    },
    "pool/groups.py": {
        "_KNOWN_MAX = 50001  # answers that a ranking remembers": _BOUND,
        "self.news, self.epoch = [], self.epoch + 2": _GROWS,
        "_NEWS_MAX = 10001  # beyond a few for each state that there is": _BOUND,
        "if len(self.news) > (_NEWS_MAX - 4 * len(self.hosts)):": _BOUND,
        "self._epoch = -2": _SIGN,
        "for state in states:"
        " if state in self._inside or state not in groups.hosts: pass  # continue": _SPEED,
        "if len(self.news) > _NEWS_MAX + 5 * len(self.hosts):": _BOUND,
    },
    "pool/gangs.py": {
        "gpus_max=1,": "each part has a GPU at least",
    },
    "sharing/shares.py": {
        "if (amounts[d] >= limit + _DUST):": _DUST,
        "(rate, base) if per else (1, -math.inf)": "whatever is added to it",
        "if (violation >= most):": _SAME,
        "self._tier_lines ="
        " [[(0, 1)] * resources, *(self._penalties([p] * resources) for p in parts)]": _UNUSED,
        "if amounts[d] and (self.used[node][d] + amounts[d] >= limit + _DUST):": _DUST,
    },
    "sharing/turns.py": {
        "grows_ms = self._threshold_ms if waited_ms < self._threshold_ms else (waited_ms + _GROWTH)": _LAGS,
        "_GROWTH = math.exp(1 / 3)": _LAGS,
        "while due and (due[0][0] < now_ms):": _LAGS,
        "live[above] -= 2": _SPEED,
        "if (len(heap) >= _MOST_STALE + 2 * live[above]):": _BOUND,
    },
}
EQUIVALENT = {(file, line): why for file, lines in _OF_FILES.items() for line, why in lines.items()}
