"""What can never run."""

from __future__ import annotations

from flowc.plan.host import lack, nearest_host
from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Rejected
from flowrun.core.pool.pool import Pool


def can_ever_fit(needs: Resources, *hosts: Capacity) -> Rejected | None:
    """Why a task could not run even if all of the hosts were empty; `None` if it could.

    Of several hosts that will not do, it speaks of the one that comes nearest. What would fit that one is
    told by `flowc.plan.host.nearest`.
    """
    number = nearest_host(needs, hosts)
    if number is None:
        return None
    if needs.hosts_max > 1:
        answer = Pool(hosts).place(needs)
        return answer if isinstance(answer, Rejected) else None
    found = lack(needs, hosts[number])
    assert found is not None
    return Rejected(*found, number)
