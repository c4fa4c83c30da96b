"""Models come into memory and go, within a budget; with a clock and sizes of the test's own."""

import pytest

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature
from flowserve.core.models.table import Version
from flowserve.core.models.tiers import Budget
from flowserve.shell.models import memory as memory_module
from flowserve.shell.models.memory import Memory
from flowserve.shell.models.weights import Size

MB = 2**20


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch):
    monkeypatch.setattr(memory_module, "_resident_bytes", lambda: 0)
    return Clock()


def memory(clock, limit_mb, size_mb=10, grace_s=0.0):
    def load(version: Version) -> Model:
        key = version.key
        if key.name == "broken":
            refuse("FS103", "it is broken")
        return Model(key.name, key.version, Signature((), ()), lambda feed, outputs: [])

    return Memory(load, lambda key: Size(size_mb * MB), Budget(limit_mb * MB, grace_s), clock)


def version(name, tier=3):
    return Version(Key(name, 1), tier=tier)


def names(store):
    return sorted(resident.key.name for resident in store.residents())


def test_what_was_not_used_the_longest_goes(clock):
    store = memory(clock, 20)
    a, b, c = version("a"), version("b"), version("c")
    for clock.now_s, one in enumerate((a, b)):
        assert isinstance(store.load(one), Model)
    clock.now_s = 5.0
    a.uses += 1
    store.look()
    store.load(c)
    assert names(store) == ["a", "c"]
    assert b.model is None
    assert a.model is not None


def test_a_model_without_room_is_refused_and_nothing_goes(clock):
    store = memory(clock, 15)
    pinned = version("pinned", tier=1)
    store.load(pinned)
    refused = store.load(version("late"))
    assert isinstance(refused, Refused)
    assert "[FS260] version 1 of model `late` needs 10 MB, and there is no room for it" in str(refused)
    assert names(store) == ["pinned"]
    assert not isinstance(store.load(version("also pinned", tier=1)), Refused)  # whatever the budget says


def test_what_does_not_load_takes_no_room(clock):
    store = memory(clock, 0)
    assert isinstance(store.load(version("broken")), Refused)
    assert store.residents() == []


def test_loaded_once(clock):
    store = memory(clock, 0)
    one = version("a")
    assert store.load(one) is store.load(one)
    store.forget(one)
    assert one.model is None
    assert store.residents() == []
