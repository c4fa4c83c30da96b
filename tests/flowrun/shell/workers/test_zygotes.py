"""Which zygote serves which imports: pure, with zygotes that are names only."""

import pytest

from flowrun.shell.workers import zygotes
from flowrun.shell.workers.zygotes import Zygote, Zygotes


class Tree:
    """Zygotes, and what is imported: `loaded(n, *names)` says that the nth has these by now."""

    def __init__(self):
        self.made = []
        self.zygotes = Zygotes(Zygote(0, frozenset(), None), self._branch)

    def _branch(self, parent, imports):
        self.made.append((parent.number, imports))
        return Zygote(len(self.made), parent.has.union(imports), parent)

    def get(self, *imports):
        return self.zygotes.get(imports).number

    def foresee(self, *imports):
        found = self.zygotes.foresee(imports)
        return None if found is None else found.number

    def loaded(self, number, *has):
        zygote = self.zygotes.all[number]
        took = dict.fromkeys(sorted(zygote.has - (zygote.parent.has if zygote.parent else set())), 5)
        return [z.number for z in self.zygotes.loaded(zygote, zygote.has.union(has), took)]


@pytest.fixture
def tree():
    tree = Tree()
    tree.loaded(0)
    return tree


def test_who_imports_nothing_is_served_by_the_first(tree):
    assert tree.get("a") == 1
    tree.loaded(1)
    assert (tree.get(), tree.foresee()) == (0, 0)


def test_one_for_each_set(tree):
    assert [tree.get("a"), tree.get("a"), tree.foresee("a")] == [1, 1, 1]


def test_another_is_made_of_what_is_loaded_by_then(tree):
    tree.get("a")
    tree.loaded(1)
    tree.get("b")
    assert tree.made == [(0, ("a",)), (1, ("b",))]
    assert tree.get("b", "a") == 2


def test_who_is_ready_does_not_wait_for_what_others_import(tree):
    tree.get("a")
    tree.get("b")
    assert tree.made == [(0, ("a",)), (0, ("b",))]


def test_but_for_what_it_needs_itself(tree):
    tree.get("a")
    tree.get("a", "b")
    assert tree.made == [(0, ("a",)), (1, ("b",))]


def test_what_is_foreseen_waits_until_it_is_known_what_there_is(tree):
    tree.get("torch")
    assert tree.foresee("numpy", "b") is None
    assert tree.foresee("numpy") is None
    assert tree.loaded(1, "numpy") == [2, 1]  # torch imports numpy
    assert tree.made[1:] == [(1, ("b",))]


def test_nor_before_the_first_has_loaded_its_operators():
    tree = Tree()
    assert tree.foresee("a") is None
    assert tree.get("b") == 1  # which is ready
    assert tree.loaded(0, "a") == [0]


def test_the_newest_of_those_that_fit(tree):
    tree.get("a")
    tree.get("b")
    tree.loaded(1, "c")
    assert tree.get("c") == 1
    tree.loaded(2, "c")
    assert tree.get("c") == 2


def test_there_is_a_bound(tree, monkeypatch):
    monkeypatch.setattr(zygotes, "MOST", 3)
    assert [tree.get("a"), tree.get("b"), tree.get("a", "c")] == [1, 2, 1]


def test_what_imports_took_is_told_once(tree):
    tree.get("a")
    tree.loaded(1)
    tree.get("b")
    tree.loaded(2)
    one, two = tree.zygotes.all[1:]
    assert two.tell() == {"a": 5, "b": 5}
    assert (one.tell(), two.tell()) == ({}, {})


def test_with_one_go_all_that_came_of_it(tree):
    class Closed:
        def close(self):
            pass

    for name in ("a", "b", "c"):
        tree.get(name)
        tree.loaded(len(tree.made))
    for zygote in tree.zygotes.all:
        zygote.stream = Closed()
    tree.zygotes.remove(tree.zygotes.all[2])
    assert [zygote.number for zygote in tree.zygotes.all] == [0, 1]
