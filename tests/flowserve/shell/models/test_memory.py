"""Models come into memory and go, within a budget; with a clock and sizes of the test's own."""

import gc
import weakref

import pytest

from flowc.plan.diagnostics import Refused, refuse
from flowserve.core.catalog.version import Version
from flowserve.core.memory.tiers import Budget
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.seat import HOST, Seat
from flowserve.core.models.signature import Signature
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
    def load(version: Version, seat: Seat) -> Model:
        key = version.key
        if key.name == "broken":
            refuse("FS103", "it is broken")
        return Model(key.name, key.version, Signature((), ()), lambda feed, outputs: [])

    return Memory(load, lambda key: Size(size_mb * MB), Budget({HOST: limit_mb * MB}, grace_s), clock)


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


def test_small_ones_go_some_at_once_and_never_one_that_is_used(clock):
    store = memory(clock, 5120)
    versions = [version(f"{number:03}") for number in range(512)]
    for clock.now_s, one in enumerate(versions):
        store.load(one)
    assert len(store.residents()) == 512
    store.load(version("next"))
    assert names(store) == [*(one.key.name for one in versions[16:]), "next"]
    for number in range(15):
        store.load(version(f"next {number}"))
    assert len(store.residents()) == 512, "there was room for these"


def test_a_model_without_room_is_refused_and_nothing_goes(clock):
    store = memory(clock, 15)
    pinned = version("pinned", tier=1)
    store.load(pinned)
    refused = store.load(version("late"))
    assert isinstance(refused, Refused)
    assert "[FS260] version 1 of model `late` needs 10 MB, and there is no room for it" in str(refused)
    assert names(store) == ["pinned"]
    assert not isinstance(store.load(version("also pinned", tier=1)), Refused)  # whatever the budget says


class Heap:
    """The process's memory: what models took, and what was freed and not given back yet."""

    def __init__(self, monkeypatch, store, model_mb, freed_mb):
        self.kept_mb = self.freed_mb = 0
        monkeypatch.setattr(memory_module, "_resident_bytes", lambda: (self.kept_mb + self.freed_mb) * MB)
        monkeypatch.setattr(store, "trim", self.trim)
        load = store._load

        def loading(version, seat):
            self.kept_mb += model_mb
            self.freed_mb += freed_mb
            return load(version, seat)

        monkeypatch.setattr(store, "_load", loading)

    def trim(self):
        self.freed_mb = 0


def test_what_takes_more_than_its_files_say_makes_room_once_it_is_measured(clock, monkeypatch):
    store = memory(clock, limit_mb=40)
    Heap(monkeypatch, store, model_mb=18, freed_mb=0)
    for clock.now_s, name in enumerate("abc"):
        store.load(version(name))
    assert names(store) == ["b", "c"], "three by their files, two by what they take"


def test_what_warming_up_took_and_freed_is_not_the_models(clock, monkeypatch):
    store = memory(clock, limit_mb=40)
    Heap(monkeypatch, store, model_mb=10, freed_mb=30)
    for clock.now_s, name in enumerate("abcd"):
        store.load(version(name))
    assert names(store) == ["a", "b", "c", "d"]


def test_what_did_not_load_is_not_kept_by_its_refusal(clock):
    class Session:
        pass

    made = []

    def load(version, seat):
        session = Session()
        made.append(weakref.ref(session))
        try:
            raise RuntimeError("the runtime says no")
        except RuntimeError as error:
            refuse("FS103", str(error))

    gc.disable()
    try:
        refused = Memory(load, lambda key: Size(MB), Budget(), clock).load(version("broken"))
        assert "the runtime says no" in str(refused)
        assert made[0]() is None, "what it has on a GPU is free at once"
    finally:
        gc.enable()


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


class Gpus:
    """A memory with two GPUs of 100 MB. Models are expected to take 20 MB there, and take what is said.

    `takes` is by name, in MB, None for what turns out to compute on the host.
    """

    def __init__(self, clock, bounded_mb=0, **takes):
        self.takes, self.seats, self.bounded_mb, self.begun = takes, [], bounded_mb, set()
        budget = {HOST: 1000 * MB, "gpu:0": 100 * MB, "gpu:1": 100 * MB}
        self.memory = Memory(self.load, lambda key: Size(10 * MB), Budget(budget, 0.0), clock, self)

    def load(self, version, seat):
        name = version.key.name
        assert seat.space == HOST or seat.space in self.begun
        self.seats.append((name, seat.space, seat.bytes // MB, seat.bounded))
        taken = self.takes.get(name, 20)
        if taken is None:
            seat = Seat(reason="none of its operators can run there")
        elif not seat.bounded:
            seat = Seat(seat.space, taken * MB, bounded=True)
        return Model(name, 1, Signature((), ()), lambda feed, outputs: [], seat=seat)

    def spaces(self, key):
        if key.name.startswith("host"):
            return ()
        return ("gpu:1",) if key.name.startswith("second") else ("gpu:0", "gpu:1")

    def expected(self, key, space, files_bytes):
        assert files_bytes == 10 * MB
        return Seat(space, (self.bounded_mb or 20) * MB, bool(self.bounded_mb))

    def begin(self, space):
        self.begun.add(space)

    def where(self):
        of = sorted(self.memory.residents(), key=lambda resident: resident.key)
        return {r.key.name: {space: n // MB for space, n in r.bytes.items()} for r in of}


def test_each_model_goes_to_the_gpu_with_the_most_room(clock):
    gpus = Gpus(clock, a=60, b=30, c=60)
    for name in ("a", "b", "host", "c"):
        gpus.memory.load(version(name))
    assert [seat[1] for seat in gpus.seats] == ["gpu:0", "gpu:1", HOST, "gpu:1"]
    assert gpus.where() == {
        "a": {HOST: 0, "gpu:0": 60},
        "b": {HOST: 0, "gpu:1": 30},
        "c": {HOST: 0, "gpu:1": 60},
        "host": {HOST: 10},
    }


def test_what_takes_more_than_expected_makes_room_once_it_is_measured(clock):
    gpus = Gpus(clock, a=60, second_b=50, second_c=60)
    loaded = {}
    for clock.now_s, name in enumerate(("a", "second_b", "host", "second_c")):
        loaded[name] = version(name)
        assert isinstance(gpus.memory.load(loaded[name]), Model)
    assert sorted(gpus.where()) == ["a", "host", "second_c"], "of the same GPU only"
    assert loaded["second_b"].evictions == 1
    gpus.memory.load(loaded["second_b"])
    assert gpus.seats[-1] == ("second_b", "gpu:1", 50, True), "it is bounded by what was measured"
    assert sorted(gpus.where()) == ["a", "host", "second_b"]


def test_what_has_no_room_on_a_gpu_is_refused_and_the_next_time_at_once(clock):
    gpus = Gpus(clock, huge=150)
    gpus.memory.load(version("a", tier=1))
    huge = version("huge")
    for _ in range(2):
        refused = gpus.memory.load(huge)
        assert isinstance(refused, Refused)
        assert "[FS260] version 1 of model `huge` needs 150 MB on gpu:" in str(refused)
        assert "`gpu_memory_mb` gives each process 100 MB on gpu:" in refused.diagnostics[0].hint
        assert huge.loads == 1
    assert huge.model is None
    assert sorted(gpus.where()) == ["a"]


def test_what_turns_out_to_compute_on_the_host_is_not_tried_on_a_gpu_again(clock):
    gpus = Gpus(clock, trees=None)
    trees = version("trees")
    for _ in range(2):
        gpus.memory.load(trees)
        assert gpus.where() == {"trees": {HOST: 10}}
        gpus.memory.forget(trees)
    assert [seat[1] for seat in gpus.seats] == ["gpu:0", HOST]


def test_what_is_said_of_a_model_bounds_it_unmeasured(clock):
    gpus = Gpus(clock, bounded_mb=70)
    gpus.memory.load(version("a"))
    assert gpus.seats == [("a", "gpu:0", 70, True)]
    assert gpus.where() == {"a": {HOST: 0, "gpu:0": 70}}


def test_a_pipeline_fits_when_each_member_has_room_on_some_gpu(clock):
    gpus = Gpus(clock, bounded_mb=60)
    one, other, pipeline = version("one"), version("other"), version("host pipeline")
    pipeline.members = (one, other)
    assert gpus.memory.fits(pipeline)
    gpus.memory.load(version("second"))
    assert not gpus.memory.fits(pipeline), "gpu:0 has room for one of them"
    assert gpus.memory.fits(one)
