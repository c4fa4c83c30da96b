"""What other flowrun processes hold of the simulated hosts, as the kernel knows it: see `docs/leases.md`.

They take memory and GPUs that nobody has, and give them back, whenever they like. The scheduler does not know
of that until it looks, or until what it starts is refused.
"""

from random import Random

from books import demand

from flowrun.core.changes import Outsider
from flowrun.core.model import Placement


class Outside:
    """Those who do not ask the scheduler. `held` is what they have, in the order in which they took it.

    `placements` tells what those that ask it have at a moment. In most worlds there is nobody else.
    """

    def __init__(self, seed, capacities, placements):
        self.random = random = Random(f"outside {seed}")  # of its own: what it decides moves nothing else
        self.capacities = capacities
        self.placements = placements
        self.held = ()
        self.restless = random.choice([0] * 5 + [0.1, 0.5, 0.9])  # how often they do something
        self.refused = 0
        self._number = 0

    def act(self):
        """Maybe some take something, or go."""
        random = self.random
        if random.random() >= self.restless:
            return
        for _ in range(random.choice([1, 2, 5])):
            if self.held and random.random() < 0.4:
                gone = random.choice(self.held)
                self.held = tuple(one for one in self.held if one is not gone)
            else:
                self._take(random.randrange(len(self.capacities)))

    def leave(self):
        """All are gone, and nobody comes any more."""
        self.held, self.restless = (), 0

    def is_seen(self, scheduler, busy):
        """Whether the scheduler finds something else than it knows. It looks now and then if something waits.

        If nothing else happens it does for sure, and nobody stays for ever.
        """
        if not scheduler.queue:
            return False
        if not busy and self.held == scheduler.elsewhere:
            self.held = self.held[1:]
        return self.held != scheduler.elsewhere and (not busy or self.random.random() < 0.1)

    def refuses(self, placement):
        """Whether somebody outside was quicker to take what is to be started on."""
        mine = [part for part in (placement, *placement.parts) if part.memory_mb or part.gpus]
        refused = any(not self._has(part) for part in mine)
        self.refused += refused
        return refused

    def _has(self, part):
        """Whether there is room for a part of a placement beside all that is really held."""
        memory_mb, gpus = self._free(part.host)
        enough = [_is_free(gpus[i], part.gpu_memory_mb) for i in part.gpus]
        return part.memory_mb <= memory_mb and all(enough)

    def _take(self, host):
        """Some memory, a GPU, or a part of one, if that is free."""
        random = self.random
        memory_mb, gpus = self._free(host)
        self._number += 1
        by = f"another flowrun (process {self._number} of ana)"
        if gpus and random.random() < 0.6:
            index = random.choice(sorted(gpus))
            share = random.choice([0, 0, 1000, 3000, 8000])
            if _is_free(gpus[index], share):
                self.held += (Outsider(by, Placement(0, 0, (index,), share, host=host)),)
        elif memory_mb > 0:
            self.held += (Outsider(by, Placement(0, random.randrange(1, memory_mb + 1), host=host)),)

    def _free(self, host):
        """Memory of a host, and for each GPU how much it has, and whether that is all of it."""
        capacity = self.capacities[host]
        wholes = [*self.placements(), *(one.placement for one in self.held)]
        parts = [part for whole in wholes for part in (whole, *whole.parts) if part.host == host]
        memory_mb = capacity.memory_mb - sum(part.memory_mb for part in parts)
        gpus = {}
        for gpu in capacity.gpus:
            shares = [part.gpu_memory_mb for part in parts if gpu.index in part.gpus]
            demand(0 not in shares or len(shares) == 1, "gpu", gpu.index, "is really held by two:", parts)
            gpus[gpu.index] = (0 if 0 in shares else gpu.memory_mb - sum(shares), not shares)
            demand(gpus[gpu.index][0] >= 0, "gpu", gpu.index, "is really over its memory:", parts)
        demand(memory_mb >= 0, "memory is really held by two:", parts)
        return memory_mb, gpus


def _is_free(gpu, share):
    memory_mb, whole = gpu
    return memory_mb >= share if share else whole
