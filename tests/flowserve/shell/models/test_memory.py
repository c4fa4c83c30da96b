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


def asks(store, clock, *versions, seconds):
    """Look every second, in which these are asked for."""
    for _ in range(seconds):
        clock.now_s += 1
        for one in versions:
            one.uses += 1
        store.look(versions)


def test_what_is_asked_for_regularly_is_loaded_again_when_there_is_room(clock):
    store = memory(clock, 20)
    a, b, once = version("a"), version("b"), version("once")
    large, pinned = version("large"), version("pinned", tier=1)
    store.load(a)
    asks(store, clock, a, b, seconds=10)
    asks(store, clock, b, seconds=10)
    asks(store, clock, once, seconds=1)
    for one in (large, pinned):
        store.load(one)
    assert names(store) == ["large", "pinned"]
    assert store.ahead() is None, "there is no room, and nothing goes for that"
    store.drop(large)
    assert store.ahead() is b
    store.load_ahead(b)
    assert names(store) == ["b", "pinned"]
    assert store.ahead() is None
    store.load_ahead(a)
    assert names(store) == ["b", "pinned"], "what was room is none any more"
    store.drop(pinned)
    assert store.ahead() is a


def test_what_is_asked_for_regularly_and_does_not_load_is_not_tried_again_and_again(clock):
    store = memory(clock, 0)
    broken = version("broken")
    asks(store, clock, broken, seconds=10)
    assert store.ahead() is broken
    store.load_ahead(broken)
    assert store.ahead() is None


def test_a_new_version_is_expected_to_be_asked_for_as_the_one_before(clock):
    store = memory(clock, 0)
    before, after = version("a"), Version(Key("a", 2), tier=3)
    store.load(before)
    asks(store, clock, before, seconds=10)
    store.succeed(after, before)
    assert store.ahead() is after
    eager = version("eager", tier=2)
    asks(store, clock, eager, seconds=10)
    store.drop(after)
    assert store.ahead() is None


def test_a_pipeline_has_room_when_its_members_have(clock):
    store = memory(clock, 30, size_mb=10)
    first, second, pipeline = version("first"), version("second"), version("pipeline")
    pipeline.members = (first, second)
    assert store.fits(pipeline)
    store.load(version("other"))
    assert not store.fits(pipeline)
    assert not isinstance(store.load(pipeline), Refused)
    assert names(store) == ["first", "pipeline", "second"]
    store.load(version("more"))
    assert "pipeline" not in names(store), "it goes before what it runs"


def test_loaded_once(clock):
    store = memory(clock, 0)
    one = version("a")
    assert store.load(one) is store.load(one)
    store.forget(one)
    assert one.model is None
    assert store.residents() == []
