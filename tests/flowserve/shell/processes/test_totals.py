"""What the processes of a server have counted, together."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

from loops import on_loop

from flowserve.core.models.key import Key
from flowserve.core.observe.measures import ModelMeasure, ProcessMeasure
from flowserve.shell.processes.messages import Count
from flowserve.shell.processes.totals import Totals


class Process:
    """Answers at once."""

    def __init__(self, count):
        models = [ModelMeasure(name, 1, succeeded=count, rows=count) for name in ("a", "b")]
        self.measure = ProcessMeasure(1, models=models)
        self.asked = []

    def ask_measure(self, number, versions=None):
        self.asked.append((number, versions))
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(None)
        return answer


@on_loop
async def test_of_one_model_nobody_is_asked_for_the_others():
    processes = {0: Process(3), 1: Process(4)}
    totals = Totals("1", cast(Any, SimpleNamespace(serving=lambda: processes)), cast(Any, None))
    totals.keep(cast(Any, Process(10)))
    wanted = [Key("b", 1), Key("unheard", 1)]
    found = await totals.statistics(Count(wanted))
    assert [(of.name, of.inference_count) for of in found] == [("b", 17), ("unheard", 0)]
    assert [process.asked for process in processes.values()] == [[(1, wanted)]] * 2
