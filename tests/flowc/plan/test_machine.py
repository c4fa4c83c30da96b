"""What a process may use of its machine, in a container or not."""

import os

import pytest

from flowc.plan import machine


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 3, 5})
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.get)
    return tmp_path


@pytest.mark.parametrize(
    ("said", "cpus", "whole"),
    [
        (None, 3, 3),
        ("max 100000", 3, 3),
        ("150000 100000", 1.5, 1),
        ("900000 100000", 3, 3),
        ("50000 100000", 0.5, 1),
        ("what", 3, 3),
    ],
)
def test_processors_are_those_it_may_run_on_or_a_part_of_them(cgroup, said, cpus, whole):
    if said is not None:
        (cgroup / "cpu.max").write_text(said)
    assert (machine.processors(), machine.whole_processors()) == (cpus, whole)


@pytest.mark.parametrize(
    ("said", "pages"), [(None, 1000), ("max", 1000), (str(4096 * 10), 10), (str(4096 * 9999), 1000)]
)
def test_memory_is_the_hosts_or_what_is_allowed_of_it(cgroup, said, pages):
    if said is not None:
        (cgroup / "memory.max").write_text(said)
    assert machine.memory_bytes() == 4096 * pages
