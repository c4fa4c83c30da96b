"""Many hosts: against a slow reference, whatever is taken and given back."""

import random
from itertools import combinations

import msgspec
import pytest

from flowc.plan.model import Resources
from flowrun.core.model import Capacity, Gpu, Placement, Rejected
from flowrun.core.pool import Pool, can_ever_fit, groups
from flowrun.core.pool.judge import Judge
from flowrun.core.pool.matching import choices
from flowrun.core.pool.requests import request_of

MODELS = [("A100", 40), ("H100", 80), ("T4", 16)]


def random_host(source):
    """Up to five GPUs, of up to two models, some of them linked."""
    gpus = []
    for i in range(source.choice([0, 1, 2, 4, 5])):
        name, memory = source.choice(MODELS[: source.choice([1, 2])])
        gpus.append(Gpu(i + 3, name, memory, source.choice([0, 1, 1, 2])))
    licences = source.choice([(), (("licence", 2),)])
    return Capacity(source.choice([1, 2.5, 8]), source.choice([50, 100]), tuple(gpus), licences)


def random_needs(source):
    gpus = source.choice([0, 0, 1, 1, 1, 2, 3])
    return Resources(
        cpus=source.choice([0, 0.1, 0.3, 1, 2]),
        memory_mb=source.choice([0, 5, 20, 60]),
        gpus=gpus,
        gpu_memory_mb=source.choice([0, 5, 10, 30]) if gpus else 0,
        gpus_max=source.choice([0, gpus + 1]) if gpus else 0,
        gpu_models=source.choice([(), (), ("A100",), ("H100", "T4")]),
        linked=gpus > 1 and source.random() < 0.3,
        uses=source.choice([(), (), (("licence", 1),), (("seat", 1),)]),
    )


class Reference:
    """What is held, as a list of placements: everything else is worked out anew each time."""

    def __init__(self, hosts, shared):
        self.hosts = hosts
        self.shared = shared
        self.held = []

    def free(self, number):
        host = self.hosts[number]
        held = [p for p in self.held if p.host == number]
        uses = {
            name: amount - sum(dict(p.uses).get(name, 0) for p in held) for name, amount in host.resources
        }
        memory = {
            gpu.index: None
            if any(gpu.index in p.gpus and not p.gpu_memory_mb for p in held)
            else gpu.memory_mb - sum(p.gpu_memory_mb for p in held if gpu.index in p.gpus)
            for gpu in host.gpus
        }
        cpus = host.cpus - sum(p.cpus for p in held)
        return round(cpus, 6), host.memory_mb - sum(p.memory_mb for p in held), memory, uses

    def sets_of_gpus(self, number, needs):
        """Every set of GPUs on a host with which a request fits it."""
        cpus, memory_mb, gpu_memory, uses = self.free(number)
        shared = {n: a - sum(dict(p.uses).get(n, 0) for p in self.held) for n, a in self.shared.items()}
        if needs.cpus > cpus or needs.memory_mb > memory_mb:
            return
        if any(amount > shared.get(name, uses.get(name, 0)) for name, amount in needs.uses):
            return
        suited = [gpu for gpu in self.hosts[number].gpus if self._suits(gpu, gpu_memory[gpu.index], needs)]
        for count in range(needs.gpus, max(needs.gpus, needs.gpus_max) + 1):
            for chosen in combinations(suited, count):
                links = {gpu.link for gpu in chosen}
                if not needs.linked or count < 2 or (len(links) == 1 and 0 not in links):
                    yield tuple(gpu.index for gpu in chosen)

    @staticmethod
    def _suits(gpu, left, needs):
        if needs.gpu_models and gpu.name not in needs.gpu_models:
            return False
        if needs.gpu_memory_mb:
            return left is not None and left >= needs.gpu_memory_mb
        return left == gpu.memory_mb


@pytest.mark.parametrize("seed", range(40))
def test_places_are_those_of_a_slow_reference(seed):
    source = random.Random(seed)
    kinds = [random_host(source) for _ in range(3)]
    hosts = [source.choice(kinds) for _ in range(source.choice([1, 2, 6]))]
    shared = source.choice([{}, {"seat": 2}])
    typical = {random_needs(source): source.randint(1, 9) for _ in range(4)}
    pool, reference = Pool(hosts, typical, shared), Reference(hosts, shared)
    shapes = [random_needs(source) for _ in range(8)]
    for _ in range(120):
        if reference.held and source.random() < 0.3:
            pool.give_back(reference.held.pop(source.randrange(len(reference.held))))
            continue
        needs = source.choice(shapes)
        found = pool.place(needs)
        could = {number: set(reference.sets_of_gpus(number, needs)) for number in range(len(hosts))}
        if isinstance(found, Rejected):
            assert not any(could.values()), (needs, found)
            assert found.need > found.have
        else:
            assert found.gpus in could[found.host], (needs, found)
            most = max(map(len, could[found.host]))
            assert len(found.gpus) == most, "a range takes as many as there are"
            assert msgspec.structs.replace(found, host=0, gpus=()) == Placement(
                needs.cpus, needs.memory_mb, (), needs.gpu_memory_mb, needs.uses
            )
            pool.take(found)
            reference.held.append(found)
    for placement in reference.held:
        pool.give_back(placement)
    assert [pool.left(number) for number in range(len(hosts))] == hosts
    assert pool.shared == shared
    assert [pool.place(needs) for needs in shapes] == [Pool(hosts, typical, shared).place(n) for n in shapes]


@pytest.mark.parametrize("seed", range(15))
def test_the_host_is_the_best_of_all_and_of_equals_the_first(seed):
    source = random.Random(seed)
    kinds = [random_host(source) for _ in range(2)]
    hosts = [source.choice(kinds) for _ in range(6)]
    typical = {random_needs(source): source.randint(1, 9) for _ in range(4)}
    pool, judge = Pool(hosts, typical), Judge(typical, Pool(hosts)._kinds)
    for _ in range(80):
        needs = random_needs(source)
        rated = []
        for number, (kind, free) in enumerate(zip(pool._kind_of, pool._free, strict=True)):
            found = choices(kind, kind.sorted(free), request_of(needs))
            if not isinstance(found, Rejected):
                rated.append((judge.best(kind, kind.sorted(free), request_of(needs), found), number))
        placed = pool.place(needs)
        if rated:
            assert placed.host == min(rated)[1]
            pool.take(placed)
        else:
            assert isinstance(placed, Rejected)


@pytest.mark.parametrize("seed", range(10))
def test_what_is_forgotten_to_bound_memory_changes_nothing(monkeypatch, seed):
    def placements():
        source = random.Random(seed)
        kinds = [random_host(source) for _ in range(3)]
        pool = Pool([source.choice(kinds) for _ in range(6)], {random_needs(source): 1 for _ in range(3)})
        held, answers = [], []
        for _ in range(200):
            answers.append(pool.place(random_needs(source)))
            if isinstance(answers[-1], Placement):
                pool.take(answers[-1])
                held.append(answers[-1])
            elif held:
                pool.give_back(held.pop(source.randrange(len(held))))
        return answers

    expected = placements()
    monkeypatch.setattr(groups, "_KNOWN_MAX", 3)
    monkeypatch.setattr(groups, "_NEWS_MAX", -20)
    monkeypatch.setattr("flowrun.core.pool.judge._KNOWN_MAX", 2)
    monkeypatch.setattr("flowrun.core.pool.pool._SHAPES_MAX", 4)
    assert placements() == expected


@pytest.mark.parametrize("seed", range(60))
def test_what_can_ever_fit_is_what_an_empty_pool_places(seed):
    source = random.Random(seed)
    hosts = [random_host(source) for _ in range(source.choice([1, 3]))]
    for _ in range(50):
        needs = random_needs(source)
        never = can_ever_fit(needs, *hosts)
        assert (never is None) == isinstance(Pool(hosts).place(needs), Placement), (needs, never)


class TestCopies:
    HOSTS = (Capacity(4, 100, (Gpu(0, "T4", 16),)),) * 3

    def test_what_is_taken_of_a_copy_is_not_taken_of_the_pool(self):
        pool = Pool(self.HOSTS, shared={"seat": 1})
        copy = pool.copy()
        needs = Resources(4, 100, 1, uses=(("seat", 1),))
        copy.take(copy.place(needs))
        assert pool.place(needs).host == 0
        assert copy.place(needs) == Rejected("seat", 1, 0)
        assert copy.left(0) == Capacity(0, 0, (Gpu(0, "T4", 0),))
        assert pool.left(0) == self.HOSTS[0]

    def test_a_copy_decides_as_the_pool_does(self):
        pool = Pool(self.HOSTS)
        for _ in range(2):
            pool.take(pool.place(Resources(1, 10, 1, 5)))
        copy = pool.copy()
        for needs in [Resources(4), Resources(1, gpus=1), Resources(1, 1, 1, 5)]:
            assert copy.place(needs) == pool.place(needs)


class TestManyHosts:
    def test_the_rejection_is_of_the_host_that_comes_nearest(self):
        hosts = [Capacity(1, 10), Capacity(8, 10), Capacity(8, 50), Capacity(8, 100, (Gpu(0, "T4", 16),))]
        pool = Pool(hosts)
        assert pool.place(Resources(9)) == Rejected("cpus", 9, 8, 1)
        assert pool.place(Resources(1, 200)) == Rejected("memory", 200, 100, 3)
        assert pool.place(Resources(1, 20, 2)) == Rejected("gpus", 2, 1, 3)

    def test_whole_gpus_are_left_for_those_that_want_them_whole(self):
        hosts = [Capacity(8, 100, tuple(Gpu(i, "T4", 16) for i in range(2)))] * 3
        pool = Pool(hosts, {Resources(gpus=1): 1, Resources(gpus=1, gpu_memory_mb=4): 1})
        pool.take(Placement(0, 0, (1,), 4, host=2))
        assert pool.place(Resources(gpus=1, gpu_memory_mb=4)) == Placement(1, 0, (1,), 4, host=2)
        assert pool.place(Resources(gpus=1)).gpus == (0,)
        assert pool.place(Resources(gpus=1)).host == 2, "the host that is used already"

    def test_cpus_are_left_for_the_gpus_beside_them(self):
        hosts = [Capacity(8, 100, (Gpu(0, "T4", 16),)), Capacity(8, 100)]
        pool = Pool(hosts, {Resources(4, gpus=1): 1})
        assert pool.place(Resources(6)).host == 1

    def test_expected_requests_may_change(self):
        hosts = [Capacity(8, 100, (Gpu(0, "T4", 16),)), Capacity(4, 100, (Gpu(0, "T4", 16),))]
        pool = Pool(hosts, {Resources(8, gpus=1): 1})
        assert pool.place(Resources(1)).host == 1
        pool.expect({Resources(4, gpus=1): 1})
        assert pool.place(Resources(1)).host == 0


class TestTogether:
    def host(self, *links):
        return Capacity(8, 100, tuple(Gpu(i, "H100", 80, link) for i, link in enumerate(links)))

    def test_gpus_of_one_domain_are_preferred(self):
        pool = Pool([self.host(1, 2, 2, 1)])
        assert pool.place(Resources(gpus=2)).gpus in [(0, 3), (1, 2)]
        pool.take(Placement(0, 0, (0,)))
        assert pool.place(Resources(gpus=2)).gpus == (1, 2)
        assert len(pool.place(Resources(gpus=3)).gpus) == 3

    def test_and_required_where_a_node_says_so(self):
        pool = Pool([self.host(1, 2, 2, 1, 0, 0)])
        assert pool.place(Resources(gpus=3, linked=True)) == Rejected("linked gpus", 3, 2)
        assert pool.place(Resources(gpus=2, gpus_max=6, linked=True)).gpus in [(0, 3), (1, 2)]
        assert len(pool.place(Resources(gpus=1, linked=True)).gpus) == 1

    def test_of_several_models_one(self):
        gpus = tuple(Gpu(i, name, 80) for i, name in enumerate(["A100", "H100", "A100", "H100"]))
        pool = Pool([Capacity(8, 100, gpus)])
        pool.take(Placement(0, 0, (0,)))
        assert pool.place(Resources(gpus=2)).gpus == (1, 3)
        assert pool.place(Resources(gpus=2, gpu_models=("A100",))) == Rejected("gpus", 2, 1)
