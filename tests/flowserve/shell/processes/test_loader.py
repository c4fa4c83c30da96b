"""What a process learns of a model when it loads it, and how long it keeps that."""

import asyncio
import gc

from running import scaling

from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.models.key import Key
from flowserve.core.models.settings import ModelSettings, PerModel
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.repository import publish
from flowserve.shell.models.serving import Serving
from flowserve.shell.processes.loader import Loader
from flowserve.shell.processes.messages import Begin, Prepare


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


def test_what_has_no_file_fails_at_once_and_not_when_it_is_asked_for(tmp_path):
    publish(tmp_path, "m", scaling(2.0))
    (tmp_path / "m" / "2").mkdir()

    async def failures(tier):
        begin = Begin(str(tmp_path), "1", models=PerModel(others=ModelSettings(tier=tier)))
        loader = Loader(begin, Serving(Table([])), LoopEngine(asyncio.get_running_loop()))
        prepared = await loader.prepare(Prepare(1, [Key("m", 1), Key("m", 2)], {}))
        return [(failure.key.version, failure.diagnostics[0].code) for failure in prepared]

    for tier in (1, 2, 3, 4):
        assert asyncio.run(failures(tier)) == [(2, "FS103")]
