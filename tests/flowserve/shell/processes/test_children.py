"""What a server's processes are started with, and what they say."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from loops import on_loop

from flowserve.core.models.key import Key
from flowserve.core.observe.measures import ModelMeasure, ProcessMeasure
from flowserve.shell.processes.children import Child, environment
from flowserve.shell.processes.messages import Measure, Measured, read_for_worker


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ({}, "glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"),
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=2"}, "glibc.malloc.arena_max=2:glibc.malloc.hugetlb=1"),
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, "glibc.malloc.hugetlb=0:glibc.malloc.arena_max=1"),
    ],
)
def test_malloc_asks_for_huge_pages_and_has_one_heap_unless_somebody_has_said_otherwise(ours, theirs):
    assert environment({"HOME": "/", **ours}) == {"HOME": "/", "GLIBC_TUNABLES": theirs}


class Channel:
    """What is written to a process."""

    def __init__(self):
        self.heard = []

    def is_closing(self):
        return False

    def close(self):
        pass

    def write(self, line):
        self.heard.append(read_for_worker(line))


def process(*models):
    return ProcessMeasure(7, connections=len(models), models=list(models))


@on_loop
async def test_what_it_has_counted_of_some_models_changes_nothing_of_others():
    child, channel = Child(cast(Any, SimpleNamespace(pid=7)), cast(Any, None)), Channel()
    child.writer = cast(Any, channel)
    a, b = ModelMeasure("a", 1, succeeded=1), ModelMeasure("b", 1, succeeded=1)
    everything = child.ask_measure(1)
    child.hear(Measured(1, process(a), last=False))
    assert not everything.done()
    child.hear(Measured(1, process(b), last=False))
    child.hear(Measured(1, ProcessMeasure(7, connections=3)))
    assert everything.done()
    assert (child.measure.connections, child.measure.models) == (3, [a, b])
    one = child.ask_measure(2, [Key("b", 1)])
    more = ModelMeasure("b", 1, succeeded=2)
    child.hear(Measured(2, process(more), whole=False))
    assert one.done()
    assert child.measure.models == [a, more]
    assert channel.heard == [Measure(1), Measure(2, [Key("b", 1)])]
    lost = child.ask_measure(3)
    child.end()
    assert lost.done()
    assert child.measure.models == [a, more]
    await asyncio.wait_for(child.ask_measure(4), 1)
