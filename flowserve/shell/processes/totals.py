"""What the processes of a server have counted, together."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable

import msgspec

from flowc.plan.exposition import exposition
from flowserve.core.models.key import Key
from flowserve.core.observe.measures import ProcessMeasure, RolloutMeasure, ServerMeasure, both, together
from flowserve.core.observe.metrics import metrics
from flowserve.core.observe.statistics import ModelStatistics, statistics
from flowserve.core.wire.coding import packed
from flowserve.shell.processes.children import Child
from flowserve.shell.processes.control import model_rows
from flowserve.shell.processes.messages import Count, Scrape
from flowserve.shell.processes.pool import Pool
from flowserve.shell.processes.served import Served

_MEASURE_S = 2.0


class Totals:
    """Of one server. What a process had counted that has ended is kept."""

    def __init__(self, server_version: str, pool: Pool, served: Served) -> None:
        self._server_version = server_version
        self._pool = pool
        self._served = served
        self._number = 0
        self._began_s = time.time()
        self._gone = ProcessMeasure(0)
        self.rollouts: Callable[[], list[RolloutMeasure]] = list
        """Says what was counted of rollouts."""

    def keep(self, worker: Child) -> None:
        """Take over what a process had counted that has ended."""
        self._gone = both(self._gone, worker.measure)

    async def measured(self) -> ServerMeasure:
        """What the server has counted. A process that does not answer soon counts as when it last did."""
        workers = await self._asked()
        catalog = self._served.catalog
        served = {(key.name, key.version) for key in catalog.serving()}
        counted = together([self._gone.models, *(worker.measure.models for worker in workers.values())])
        return ServerMeasure(
            self._server_version,
            self._began_s,
            catalog.generation,
            self._pool.restarts,
            dict(Counter(row.state for row in model_rows(catalog))),
            {place: msgspec.structs.replace(worker.measure, models=[]) for place, worker in workers.items()},
            self._gone,
            [model for model in counted if (model.name, model.version) in served],
            self.rollouts(),
        )

    async def statistics(self, count: Count) -> list[ModelStatistics]:
        """The same of some versions, in the words of the protocol's extension."""
        # Of those only: what is counted of a thousand others would take long to be told.
        wanted = {(key.name, key.version) for key in count.versions}
        workers = await self._asked(count.versions)
        measures = [self._gone, *(worker.measure for worker in workers.values())]
        counted = [[of for of in one.models if (of.name, of.version) in wanted] for one in measures]
        return statistics(count.versions, together(counted))

    async def _asked(self, versions: list[Key] | None = None) -> dict[str, Child]:
        """The processes by place, once they have said what they have counted, of models all or of these."""
        workers = {str(place): worker for place, worker in self._pool.serving().items()}
        self._number += 1
        answers = [worker.ask_measure(self._number, versions) for worker in workers.values()]
        if answers:
            await asyncio.wait(answers, timeout=_MEASURE_S)
        return workers

    async def exposed(self, scrape: Scrape) -> bytes:
        """The same as text for Prometheus, packed with gzip."""
        measure = await self.measured()

        def text() -> bytes:
            return packed(exposition(metrics(measure, scrape.stages), scrape.openmetrics).encode(), "gzip")

        # Of a thousand models that is 16 MB, and neither operations nor requests are to wait for it.
        return await asyncio.to_thread(text)
