"""The pool of threads, and how the loop rests while they work."""

import asyncio
import threading

from loops import on_loop

from flowserve.shell.engine.threads import Threads


@on_loop
async def test_who_rests_hears_of_the_end_of_a_job():
    threads, ended = Threads(asyncio.get_running_loop(), 2), []
    for i in range(20):
        threads.run(lambda i=i: i, ended.append)
        threads.rest(20)
        assert ended == list(range(i + 1))
    assert threads.free == 2
    threads.close()


@on_loop
async def test_a_rest_ends_without_an_end():
    gate, ended = threading.Event(), asyncio.get_running_loop().create_future()
    threads = Threads(asyncio.get_running_loop(), 1)
    threads.run(lambda: gate.wait(20), ended.set_result)
    threads.rest(0.001)
    assert not ended.done()
    gate.set()
    assert await asyncio.wait_for(ended, 20)
    threads.close()


@on_loop
async def test_no_end_is_missed_between_resting_and_not():
    loop = asyncio.get_running_loop()
    threads = Threads(loop, 4)
    done, left = loop.create_future(), 500

    def ended(_: object) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set_result(None)

    for _ in range(left):
        threads.run(lambda: None, ended)
        threads.rest(1e-6)
        await asyncio.sleep(0)
    await asyncio.wait_for(done, 20)
    threads.close()
