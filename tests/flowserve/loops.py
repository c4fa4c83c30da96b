"""Tests that run on the server's event loop."""

import asyncio
import functools

import uvloop

PATIENCE_S = 20


def on_loop(test):
    """Run an async test within a bounded time."""

    @functools.wraps(test)
    def run(*arguments, **named):
        async def bounded():
            async with asyncio.timeout(PATIENCE_S):
                await test(*arguments, **named)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(bounded())

    return run
