"""What hosts have, what is free of it, and where a request goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Placement, Rejected
from flowrun.core.pool.gangs import divide
from flowrun.core.pool.groups import Groups, Ranking
from flowrun.core.pool.hosts import Free, numbered, thousandths
from flowrun.core.pool.judge import Answer, Judge, State
from flowrun.core.pool.matching import choices
from flowrun.core.pool.requests import Request, request_of

_SHAPES_MAX = 1_000  # requests that are remembered


class _Shape:
    """Needs as asked for before: of a single host, and, where there are several, the hosts' ranking."""

    def __init__(self, needs: Resources, request: Request, ranking: Ranking | None) -> None:
        self.needs = needs
        self.request = request
        self.ranking = ranking


class Pool:
    """Hosts, and what is free on each.

    `typical` are the requests to be expected, with how often: a place is good if it leaves what they can use.
    `shared` are named resources of which there is one count for all hosts. What is taken and given back
    leaves the pool as it was.
    """

    def __init__(
        self,
        hosts: Sequence[Capacity],
        typical: Mapping[Resources, int] | None = None,
        shared: Mapping[str, int] | None = None,
    ) -> None:
        assert hosts, "a pool has at least one host"
        self.shared = dict(shared or {})
        self._kind_of = numbered(hosts)
        self._kinds = sorted(set(self._kind_of), key=lambda kind: kind.number)
        self._free = [kind.empty for kind in self._kind_of]
        self._groups = Groups(self._kind_of) if len(hosts) > 1 else None
        self.expect(typical or {})

    def __len__(self) -> int:
        """How many hosts there are."""
        return len(self._free)

    def spare(self, host: int = 0) -> tuple[int, int]:
        """Thousandths of CPUs and MB of memory that are free on a host."""
        return self._free[host][:2]

    def capacities(self, needs: Resources) -> list[Capacity]:
        """What the hosts have when they are empty: each kind of host once, if one of it is enough to know."""
        kinds = self._kinds if needs.hosts_max == 1 else self._kind_of
        return [kind.capacity for kind in kinds]

    def expect(self, typical: Mapping[Resources, int]) -> None:
        """Judge places by other typical requests from now on."""
        self._judge = Judge(typical, self._kinds)
        self._shapes: dict[Resources, _Shape] = {}

    def copy(self) -> Pool:
        """A pool of its own with the same hosts in the same state."""
        other = Pool.__new__(Pool)
        other.shared = self.shared.copy()
        other._kind_of, other._kinds, other._free = self._kind_of, self._kinds, self._free.copy()
        other._groups = self._groups.copy() if self._groups else None
        other._judge, other._shapes = self._judge, {}
        return other

    def left(self, host: int = 0) -> Capacity:
        """What is free on a host. Of a GPU that is held whole, no memory is left."""
        kind, free = self._kind_of[host], self._free[host]
        left = dict(zip(kind.indices, free.gpus, strict=True))
        gpus = [msgspec.structs.replace(gpu, memory_mb=max(left[gpu.index], 0)) for gpu in kind.capacity.gpus]
        resources = zip(kind.names, free.uses, strict=True)
        return Capacity(free.cpus / 1000, free.memory_mb, tuple(gpus), tuple(resources))

    def take(self, placement: Placement) -> None:
        """Mark as held."""
        self._move(placement, -1)

    def give_back(self, placement: Placement) -> None:
        """Mark as free again."""
        self._move(placement, +1)

    def _move(self, placement: Placement, sign: int) -> None:
        if self._groups is None and not placement.gpus and not placement.uses:  # most often
            free = self._free[0]
            cpus = free.cpus + sign * thousandths(placement.cpus)
            self._free[0] = Free(cpus, free.memory_mb + sign * placement.memory_mb, free.gpus, free.uses)
            return
        host = placement.host
        kind = self._kind_of[host]
        free = self._free[host] = kind.after(self._free[host], placement, sign)
        if self._groups is not None:
            self._groups.move(host, (kind.number, kind.sorted(free)))
        for name, amount in placement.uses:
            if name in self.shared:
                self.shared[name] += sign * amount
        for part in placement.parts:
            self._move(part, sign)

    def place(self, needs: Resources) -> Placement | Rejected:
        """Where a task goes, or what is missing on the host that comes nearest. Takes nothing."""
        shape = self._shapes.get(needs) or self._shape(needs)
        if self.shared:
            for name, amount in needs.uses:
                if amount > self.shared.get(name, amount):
                    return Rejected(name, amount, self.shared[name])
        if shape.ranking is None:
            return self._on(0, needs, shape.request)
        assert self._groups is not None
        best = shape.ranking.best(self._groups)
        if isinstance(best, Rejected):
            return self._gang(needs) if needs.gpus and needs.hosts_max > 1 else best
        host = -self._groups.hosts[best.state][-1]
        slots = self._kind_of[host].alike(best.state[1], self._free[host], best.slots)
        return self._placement(needs, host, slots)

    def _shape(self, needs: Resources) -> _Shape:
        if len(self._shapes) >= _SHAPES_MAX:
            self._shapes.clear()
        request = request_of(needs)
        if self.shared:
            own = tuple(use for use in needs.uses if use[0] not in self.shared)
            request = request._replace(uses=own)

        def rate(state: State) -> Answer | Rejected:
            kind, free = self._kinds[state[0]], state[1]
            found = choices(kind, free, request)
            return found if isinstance(found, Rejected) else self._judge.best(kind, free, request, found)

        shape = self._shapes[needs] = _Shape(needs, request, Ranking(rate) if self._groups else None)
        return shape

    def _on(self, host: int, needs: Resources, request: Request) -> Placement | Rejected:
        kind, free = self._kind_of[host], self._free[host]
        found = choices(kind, free, request)
        if isinstance(found, Rejected):
            return found
        slots = found[0] if len(found) == 1 else self._judge.best(kind, free, request, found).slots
        return self._placement(needs, host, slots)

    def _placement(self, needs: Resources, host: int, slots: tuple[int, ...]) -> Placement:
        indices = self._kind_of[host].indices
        gpus = tuple(sorted([indices[slot] for slot in slots])) if slots else ()
        return Placement(needs.cpus, needs.memory_mb, gpus, needs.gpu_memory_mb, needs.uses, host)

    def _gang(self, needs: Resources) -> Placement | Rejected:
        """A place on several hosts at once, for what fits on no single one."""
        assert self._groups is not None
        groups = self._groups.hosts.items()
        own = tuple(use for use in needs.uses if use[0] not in self.shared)
        divided = divide(
            msgspec.structs.replace(needs, uses=own),
            [(self._kinds[kind], free, hosts) for (kind, free), hosts in groups],
        )
        if isinstance(divided, Rejected):
            return divided
        # Most hosts of a gang are in the same few states: which of their GPUs is found once for each.
        known: dict[tuple[State, int], tuple[int, ...]] = {}
        parts = []
        for host, share in divided:
            state = self._groups.states[host]
            slots = known.get((state, share.gpus))
            if slots is None:
                slots = known[state, share.gpus] = self._slots(state, share)
            kind = self._kind_of[host]
            parts.append(self._placement(share, host, kind.alike(state[1], self._free[host], slots)))
        return msgspec.structs.replace(parts[0], uses=needs.uses, parts=tuple(parts[1:]))

    def _slots(self, state: State, share: Resources) -> tuple[int, ...]:
        kind, free = self._kinds[state[0]], state[1]
        request = request_of(share)
        found = choices(kind, free, request)
        assert not isinstance(found, Rejected), "a gang was divided so that its parts fit"
        return found[0] if len(found) == 1 else self._judge.best(kind, free, request, found).slots
