"""Worker pools of a daemon: one for all runs that need the same code."""

from __future__ import annotations

from collections.abc import Mapping

from flowc.plan.model import Plan
from flowrun.shell.log.home import Home
from flowrun.shell.preparing import prepare
from flowrun.shell.readiness import Readiness
from flowrun.shell.workers.forkserver import start_zygote
from flowrun.shell.workers.pool import Pool

_MOST_IDLE = 2  # pools that are kept for the next run, with all that they have imported


class _Shared:
    """A pool, what its zygote has imported, and how many runs use it."""

    def __init__(self, pool: Pool, code: dict[str, str], versions: Mapping[str, str]) -> None:
        self.pool = pool
        self.code = code
        self.versions = versions
        self.users = 0


class Pools:
    """A pool for each code.

    A zygote has imported operators as they were then, so a run may use it if its plan was made of the same.
    """

    def __init__(self, home: Home, readiness: Readiness) -> None:
        self._home = home
        self._readiness = readiness
        self._pools: list[tuple[str, _Shared]] = []  # by root; last used last

    def take(self, plan: Plan, versions: Mapping[str, str]) -> Pool:
        """A pool for a run of a plan, with these versions of packages installed."""
        root = plan.header.root
        code = {site.op: site.code for site in plan.sites}
        for i, (known, shared) in enumerate(self._pools):
            fits = code.items() <= shared.code.items() and versions.items() <= shared.versions.items()
            if known == root and fits:
                self._pools.append(self._pools.pop(i))
                break
        else:
            pool = Pool(start_zygote(), self._readiness)
            prepare(pool, plan, self._home)
            shared = _Shared(pool, code, versions)
            self._pools.append((root, shared))
        shared.users += 1
        return shared.pool

    def release(self, pool: Pool) -> None:
        """A run needs its pool no more."""
        for i, (root, shared) in enumerate(self._pools):
            if shared.pool is pool:
                shared.users -= 1
                self._pools.append((root, self._pools.pop(i)[1]))
                break
        idle = [shared for _, shared in self._pools if not shared.users]
        for shared in idle[: max(0, len(idle) - _MOST_IDLE)]:
            self._pools = [(root, other) for root, other in self._pools if other is not shared]
            shared.pool.close()
            shared.pool.wait()

    def close(self) -> None:
        """End all workers."""
        for _, shared in self._pools:
            shared.pool.close()
        for _, shared in self._pools:
            shared.pool.wait()
        self._pools.clear()
