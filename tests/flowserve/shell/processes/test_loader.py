"""What a process learns of a model when it loads it, and how long it keeps that."""

import asyncio
import gc

from running import scaling

from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.models.key import Key
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.repository import publish
from flowserve.shell.models.serving import Serving
from flowserve.shell.processes.loader import Loader
from flowserve.shell.processes.messages import Begin


def test_a_model_is_measured_when_it_is_loaded_and_forgotten_with_it(tmp_path):
    publish(tmp_path, "m", scaling(2.0))

    async def load_and_forget():
        engine = LoopEngine(asyncio.get_running_loop())
        loader = Loader(Begin(str(tmp_path), "1"), Serving(Table([])), engine)
        version = Version(Key("m", 1))
        await asyncio.to_thread(loader._load_for_request, version)
        await asyncio.sleep(0)
        (lane,) = engine._lanes
        assert lane.costs.known
        loader._memory.forget(version)
        gc.collect()
        assert list(engine._lanes) == []

    asyncio.run(load_and_forget())
