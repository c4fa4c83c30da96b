"""Faults that must lose nothing: a few trials of each here, a hundred in `make nightly`."""

import pytest
from campaign import FAULTS, Broken, Project, trial


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return Project(tmp_path_factory.mktemp("sixty"))


def play(project, fault, seed):
    try:
        trial(project, fault, seed)
    except Broken as broken:
        pytest.fail(str(broken), pytrace=False)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_loses_nothing(project, fault):
    for seed in range(2):
        play(project, fault, seed)


@pytest.mark.slow
@pytest.mark.parametrize("start", range(100, 200, 10))
@pytest.mark.parametrize("fault", FAULTS)
def test_many_times(project, fault, start):
    for seed in range(start, start + 10):
        play(project, fault, seed)
