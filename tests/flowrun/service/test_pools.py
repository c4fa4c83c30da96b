"""Which runs share a zygote: those whose plans were made of the same code."""

import os

import pytest
from graphs import plan

from flowrun.service.pools import Pools
from flowrun.shell.log.home import Home
from flowrun.shell.readiness import Readiness


@pytest.fixture
def pools(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = Home(tmp_path / "state")
    pools = Pools(home, Readiness())
    yield pools
    pools.close()


def test_the_same_code_is_shared(pools):
    both = pools.take(plan("a code=c1\nb code=c2"), {"numpy": "2.0"})
    assert pools.take(plan("b code=c2"), {"numpy": "2.0"}) is both
    assert pools.take(plan("b code=c2"), {}) is both


@pytest.mark.parametrize(
    ("graph", "versions"), [("a code=c9", {}), ("a code=c1\nc code=c3", {}), ("a code=c1", {"numpy": "2.1"})]
)
def test_other_code_is_not(pools, graph, versions):
    first = pools.take(plan("a code=c1\nb code=c2"), {"numpy": "2.0"})
    assert pools.take(plan(graph), versions) is not first


def test_two_that_nobody_uses_are_kept(pools):
    taken = [pools.take(plan(f"a code=c{i}"), {}) for i in range(4)]
    zygotes = [pool.zygote for pool in taken]
    for pool in taken:
        pools.release(pool)
    assert [alive(pid) for pid in zygotes] == [False, False, True, True]
    assert pools.take(plan("a code=c3"), {}) is taken[3]


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def test_a_zygote_holds_no_socket_of_another(pools):
    """Else the end of one could not be seen while the other lives."""
    first = pools.take(plan("a code=c1"), {})
    pools.take(plan("a code=c2"), {})
    first.close()
    first.wait()
