"""Many hosts, grouped by what is free on them, and for a request the best of the groups.

What a place costs must not grow with the number of hosts. Hosts in like states are equally good, so states
are judged, each once for a request; a state's judgement never changes. What changes is which states there
are: a list of news tells each ranking which came up since it was last asked, and those that no host is in any
more are dropped when they come to the top.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, insort
from collections.abc import Callable, Iterable, Sequence

from flowc.plan.host import nearness
from flowrun.core.model import Rejected
from flowrun.core.pool.hosts import Kind
from flowrun.core.pool.judge import Answer, State

_KNOWN_MAX = 50_000  # answers that a ranking remembers
_NEWS_MAX = 10_000  # beyond a few for each state that there is


class Groups:
    """Which hosts are in which state. `news` are states that hosts came to be in, of which no host was."""

    def __init__(self, kinds: Sequence[Kind]) -> None:
        numbers = {kind: (kind.number, kind.sorted(kind.empty)) for kind in set(kinds)}
        self.states: list[State] = [numbers[kind] for kind in kinds]
        self.hosts: dict[State, list[int]] = {}  # numbers are negated, so that the lowest is at the end
        for host in range(len(kinds) - 1, -1, -1):
            self.hosts.setdefault(self.states[host], []).append(-host)
        self.news: list[State] = []
        self.epoch = 0  # counts how often the news were thrown away

    def copy(self) -> Groups:
        """Groups of their own, the same."""
        other = Groups.__new__(Groups)
        other.states = self.states.copy()
        other.hosts = {state: hosts.copy() for state, hosts in self.hosts.items()}
        other.news, other.epoch = [], 0
        return other

    def move(self, host: int, state: State) -> None:
        """A host is in another state now."""
        before = self.states[host]
        if state == before:
            return
        left = self.hosts[before]
        if len(left) == 1:
            del self.hosts[before]
        elif left[-1] == -host:
            left.pop()
        else:
            del left[bisect_left(left, -host)]
        self.states[host] = state
        joined = self.hosts.get(state)
        if joined is not None:
            insort(joined, -host)
            return
        self.hosts[state] = [-host]
        if len(self.news) > _NEWS_MAX + 4 * len(self.hosts):
            self.news, self.epoch = [], self.epoch + 1
        self.news.append(state)


class Ranking:
    """The states of some groups in the order in which they suit a request, as `rate` says."""

    def __init__(self, rate: Callable[[State], Answer | Rejected]) -> None:
        self._rate = rate
        self._fits: list[Answer] = []
        self._misfits: list[tuple[float, float, State, Rejected]] = []
        self._inside: set[State] = set()
        self._known: dict[State, Answer | Rejected] = {}
        self._epoch = -1
        self._seen = 0

    def best(self, groups: Groups) -> Answer | Rejected:
        """The best state that a host is in; if none will do, why the one that comes nearest does not."""
        self._catch_up(groups)
        hosts, fits, misfits = groups.hosts, self._fits, self._misfits
        while fits:
            if fits[0].state in hosts:
                return fits[0]
            self._inside.discard(heapq.heappop(fits).state)
        while misfits[0][2] not in hosts:
            self._inside.discard(heapq.heappop(misfits)[2])
        _, _, state, rejected = misfits[0]
        return Rejected(rejected.dimension, rejected.need, rejected.have, -hosts[state][-1])

    def _catch_up(self, groups: Groups) -> None:
        if self._epoch != groups.epoch:
            self._epoch, self._seen = groups.epoch, len(groups.news)
            self._learn(groups, groups.hosts)
        elif self._seen < len(groups.news):
            news = groups.news[self._seen :]
            self._seen = len(groups.news)
            self._learn(groups, news)

    def _learn(self, groups: Groups, states: Iterable[State]) -> None:
        for state in states:
            if state in self._inside or state not in groups.hosts:
                continue
            answer = self._known.get(state)
            if answer is None:
                if len(self._known) >= _KNOWN_MAX:
                    self._known.clear()
                answer = self._known[state] = self._rate(state)
            self._inside.add(state)
            if isinstance(answer, Rejected):
                heapq.heappush(self._misfits, (-nearness(answer.dimension), -answer.have, state, answer))
            else:
                heapq.heappush(self._fits, answer)
