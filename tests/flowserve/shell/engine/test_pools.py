"""The threads of a process: those of its CPUs, and those of each GPU."""

import asyncio
import threading

from loops import on_loop

from flowserve.core.models.seat import HOST
from flowserve.shell.engine.pools import Pools


def made(threads=1, gpu_threads=1, freed=lambda threads: None):
    return Pools(asyncio.get_running_loop(), threads, gpu_threads, freed)


@on_loop
async def test_each_space_has_threads_of_its_own():
    gate, ended = threading.Event(), asyncio.get_running_loop().create_future()
    pools = made()
    pools.of("gpu:0").run(lambda: gate.wait(20), ended.set_result)
    assert pools.of("gpu:0") is pools.of("gpu:0")
    assert [pools.of(space).free for space in ("gpu:0", "gpu:1", HOST)] == [0, 1, 1]
    gate.set()
    assert await asyncio.wait_for(ended, 20)
    pools.close()


@on_loop
async def test_a_loop_that_rests_hears_of_what_a_gpu_has_done():
    """Else it would find out as late as it looks for requests, while it refuses many."""
    heard, ended = [], []
    pools = made(freed=heard.append)
    gate = threading.Event()
    pools.of("gpu:0").run(lambda: gate.wait(20), ended.append)
    threading.Timer(0.01, gate.set).start()
    while not ended:
        pools.rest(20)
    assert (ended, heard) == ([True], [pools.of("gpu:0")])
    assert not pools.busy
    pools.close()


@on_loop
async def test_nobody_rests_while_no_thread_has_work():
    pools = made()
    pools.rest(1e6)
    assert not pools.busy
    pools.close()
