"""What hosts have and who holds what of it: books kept apart from the scheduler's, in the plainest way.

Everything is worked out anew from what is held, each time that it is asked for.
"""

from collections import Counter

DUST = 1e-6
OUTSIDE = None  # in place of a run, in the keys of what others hold


class Broken(AssertionError):
    """An invariant does not hold."""


def demand(holds, *what):
    if not holds:
        raise Broken(" ".join(map(str, what)))


class Hosts:
    """Hosts, and by some key what is held of them."""

    def __init__(self, capacities):
        self.capacities = tuple(capacities)
        self.held = {}  # key -> Placement
        self.needs = {}  # key -> what was asked for

    def hold(self, key, placement, needs):
        """Note that something got a place, which must be what it needs and must have been free."""
        self._check_placement(placement, needs)
        demand(key not in self.held, key, "holds a place already")
        for part in (placement, *placement.parts):
            cpus, memory, uses, gpus = self.free(part.host)
            demand(part.cpus <= cpus + DUST, part.cpus, "CPUs of host", part.host, "are not free for", key)
            demand(part.memory_mb <= max(0, memory), part.memory_mb, "MB are not free for", key)
            demand(
                all(amount <= uses[name] for name, amount in part.uses), part.uses, "are not free for", key
            )
            for index in part.gpus:
                free = gpus[index]
                enough = free >= part.gpu_memory_mb if part.gpu_memory_mb else free == self._gpu(part, index)
                demand(enough, "gpu", index, "of host", part.host, "is not free for", key)
        self.held[key], self.needs[key] = placement, needs
        for host in {part.host for part in (placement, *placement.parts)}:
            self._check_host(host)

    def occupy(self, outsiders):
        """Note what others are known to hold, who are not asked: for a moment it may be held by us, too."""
        for key in [key for key in self.held if key[0] is OUTSIDE]:
            del self.held[key]
        self.held |= {(OUTSIDE, number): one.placement for number, one in enumerate(outsiders)}

    def release(self, key):
        return self.held.pop(key)

    def _check_placement(self, placement, needs):
        """It is what is asked for: no more, no less, and of the right sort."""
        parts = (placement, *placement.parts)
        demand(len(parts) <= max(1, needs.hosts_max), "spread over too many hosts:", placement)
        demand(len({part.host for part in parts}) == len(parts), "one host twice:", placement)
        gpus = sum(len(part.gpus) for part in parts)
        demand(needs.gpus <= gpus <= max(needs.gpus, needs.gpus_max), "placed", placement)
        if len(parts) == 1:
            demand(
                (placement.cpus, placement.memory_mb) == (needs.cpus, needs.memory_mb), "placed", placement
            )
        demand(abs(sum(p.cpus for p in parts) - needs.cpus) < DUST, "placed", placement)
        demand(0 <= sum(p.memory_mb for p in parts) - needs.memory_mb < len(parts), "placed", placement)
        for part in parts:
            demand(len(set(part.gpus)) == len(part.gpus), "placed", placement)
            demand(not needs.gpus or part.gpu_memory_mb == needs.gpu_memory_mb, "placed", placement)
            demand(part.uses == needs.uses, "placed", placement)
            gpus = [self._by_index(part.host)[index] for index in part.gpus]
            demand(all(_suits(gpu, needs) for gpu in gpus), "GPUs of the wrong model:", placement)
            demand(not needs.linked or len({_domain(gpu) for gpu in gpus}) <= 1, "not linked:", placement)

    def _check_host(self, host):
        """Nothing of ours is held twice, and no more than there is."""
        outside = {key for key in self.held if key[0] is OUTSIDE}
        capacity, parts = self.capacities[host], self._parts(host, outside)
        cpus, memory = sum(part.cpus for part in parts), sum(part.memory_mb for part in parts)
        demand(cpus <= capacity.cpus + DUST, cpus, "CPUs are held of host", host)
        demand(memory <= capacity.memory_mb, memory, "MB are held of host", host)
        for gpu in capacity.gpus:
            holders = [part.gpu_memory_mb for part in parts if gpu.index in part.gpus]
            demand(0 not in holders or len(holders) == 1, "gpu", gpu.index, "is held whole and by others")
            demand(sum(holders) <= gpu.memory_mb, "gpu", gpu.index, "is over its memory")
        uses = sum((Counter(dict(part.uses)) for part in parts), Counter())
        for name, amount in uses.items():
            demand(amount <= dict(capacity.resources).get(name, 0), amount, name, "are held of host", host)

    def check(self, pool):
        """What the scheduler takes for free is what is not held."""
        for host, capacity in enumerate(self.capacities):
            self._check_host(host)
            cpus, memory, uses, gpus = self.free(host)
            left = pool.left(host)
            parts = sum(bool(placement.parts) for placement in self.held.values())
            demand(abs(left.cpus - cpus) < DUST + 0.001 * parts, "CPUs got lost:", left.cpus, cpus)
            demand(left.memory_mb == memory, "memory got lost:", left.memory_mb, memory)
            demand(dict(left.resources) == uses, "got lost:", left.resources, uses)
            for gpu in left.gpus:
                demand(gpu.memory_mb == max(0, gpus[gpu.index]), "memory of gpu", gpu.index, "got lost")
            demand(len(left.gpus) == len(capacity.gpus), "GPUs got lost")

    def free(self, host, without=frozenset()):
        """What is free of a host, some keys aside: CPUs, MB, resources by name, MB of each GPU."""
        capacity, parts = self.capacities[host], self._parts(host, without)
        uses = dict(capacity.resources)
        for part in parts:
            for name, amount in part.uses:
                uses[name] -= amount
        cpus = capacity.cpus - sum(part.cpus for part in parts)
        memory = capacity.memory_mb - sum(part.memory_mb for part in parts)
        return cpus, memory, uses, self._free_gpus(host, without)

    def fits(self, needs, without=frozenset()):
        """Whether there is room for something, on one host or, if it may be, on several."""
        rooms = [self._room(host, needs, without) for host in range(len(self.capacities))]
        whole = [host for host, room in enumerate(rooms) if room >= needs.gpus]
        if any(self._has(host, needs, 1, without) for host in whole):
            return True
        if needs.hosts_max < 2 or not needs.gpus:
            return False
        return sum(self._gang_rooms(rooms, needs, without)[: needs.hosts_max]) >= needs.gpus

    def ever_fits(self, needs):
        return self.fits(needs, without=set(self.held))

    def _gang_rooms(self, rooms, needs, without):
        """How many GPUs with their part of the rest hosts could give to a gang, the most first."""
        found = []
        for host, room in enumerate(rooms):
            most = min(room, max(needs.gpus, needs.gpus_max))
            while most and not self._has(host, needs, most / needs.gpus, without):
                most -= 1
            found.append(most)
        return sorted(found, reverse=True)

    def _has(self, host, needs, part, without):
        """Whether a host has a part of the CPUs and of the memory, and all of the rest but GPUs."""
        cpus, memory, uses, _ = self.free(host, without)
        # Of each part of a gang, CPUs are rounded up to thousandths.
        cpus -= 0.001 * sum(bool(whole.parts) for key, whole in self.held.items() if key not in without)
        if any(uses.get(name, 0) < amount for name, amount in needs.uses):
            return False
        return needs.cpus * part <= cpus + DUST and needs.memory_mb * part <= memory

    def _room(self, host, needs, without):
        """How many GPUs a host could give to one task, as far as only those count."""
        free, found = self._free_gpus(host, without), []
        for gpu in self.capacities[host].gpus:
            has = free[gpu.index] >= needs.gpu_memory_mb if needs.gpu_memory_mb else free[gpu.index] >= 0
            if not needs.gpu_memory_mb:
                has = has and free[gpu.index] == gpu.memory_mb
            if has and _suits(gpu, needs):
                found.append(_domain(gpu))
        return max(Counter(found).values(), default=0) if needs.linked else len(found)

    def _free_gpus(self, host, without=frozenset()):
        """By index; less than 0 of what is held whole."""
        free = {gpu.index: gpu.memory_mb for gpu in self.capacities[host].gpus}
        for part in self._parts(host, without):
            for index in part.gpus:
                free[index] = free[index] - part.gpu_memory_mb if part.gpu_memory_mb else -1
        return free

    def _parts(self, host, without=frozenset()):
        placements = (placement for key, placement in self.held.items() if key not in without)
        return [part for whole in placements for part in (whole, *whole.parts) if part.host == host]

    def _by_index(self, host):
        return {gpu.index: gpu for gpu in self.capacities[host].gpus}

    def _gpu(self, part, index):
        return self._by_index(part.host)[index].memory_mb


def _suits(gpu, needs):
    """Whether a GPU is of a model. The worlds' names are words, and models are whole words of them."""
    return not needs.gpu_models or any(model in gpu.name.split() for model in needs.gpu_models)


def _domain(gpu):
    return ("link", gpu.link) if gpu.link else ("alone", gpu.index)
