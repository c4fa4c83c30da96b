"""When processes can begin, by what is loaded for them."""

from flowrun.core.simulation.zygotes import MOST, Zygotes

MODULES = {"torch": 1000, "numpy": 100, "pandas": 300}


def test_what_imports_nothing_waits_for_nobody():
    zygotes = Zygotes(MODULES)
    assert zygotes.fork(["torch"], 0, 5) == 1000
    assert zygotes.fork([], 10, 5) == 10
    assert zygotes.fork(["math"], 20, 5) == 20  # takes no time that anybody measured


def test_one_forks_after_the_other():
    zygotes = Zygotes(MODULES)
    assert [zygotes.fork([], 0, 5) for _ in range(3)] == [0, 5, 10]
    assert [zygotes.fork(["numpy"], 0, 5) for _ in range(2)] == [100, 105]


def test_what_has_most_of_it_loads_the_rest():
    zygotes = Zygotes(MODULES)
    zygotes.fork(["numpy"], 0, 0)
    assert zygotes.fork(["numpy", "pandas"], 50, 0) == 400  # it has to have numpy in any case
    assert zygotes.fork(["pandas"], 500, 0) == 500
    assert zygotes.fork(["numpy", "torch"], 500, 0) == 1500


def test_what_is_loading_something_else_is_not_waited_for():
    zygotes = Zygotes(MODULES)
    zygotes.fork(["numpy", "torch"], 0, 0)
    assert zygotes.fork(["numpy", "pandas"], 10, 0) == 410


def test_what_is_foreseen_is_loaded_one_after_the_other():
    zygotes = Zygotes(MODULES)
    zygotes.foresee(["numpy"], 0)
    zygotes.foresee(["numpy", "pandas"], 0)
    zygotes.foresee(["torch"], 0)
    assert zygotes.fork(["torch"], 500, 0) == 1400  # begun at 400
    assert zygotes.fork(["pandas"], 500, 0) == 500


def test_what_is_wanted_before_its_turn_is_loaded_at_once():
    zygotes = Zygotes(MODULES)
    zygotes.foresee(["torch"], 0)
    zygotes.foresee(["numpy"], 0)
    assert zygotes.fork(["numpy"], 200, 0) == 300
    assert zygotes.fork(["numpy"], 2000, 0) == 2000


def test_there_are_not_more_than_some():
    zygotes = Zygotes({f"m{i}": 10 for i in range(2 * MOST)})
    began = [zygotes.fork([f"m{i}"], 1000 * i, 0) for i in range(2 * MOST)]
    assert began[MOST - 2] == 1000 * (MOST - 2) + 10
    assert began[MOST:] == [1000 * i for i in range(MOST, 2 * MOST)]
