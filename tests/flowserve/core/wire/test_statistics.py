"""What was counted, as the statistics extension says it."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.engine.tally import Tally
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature
from flowserve.core.models.table import Table, Version
from flowserve.core.wire.statistics import Duration, counted, statistics_of, summed


def test_what_was_counted_adds_up():
    tally = Tally()
    tally.success(rows=3, queue_ms=10, run_ms=20, now_s=5)
    tally.success(rows=1, queue_ms=0, run_ms=20, now_s=7)
    tally.failure(4)
    tally.ran(4, 40)
    tally.ran(4, 2)
    tally.ran(1, 3)
    tally.read_ms, tally.write_ms = 1, 2
    stats = statistics_of("m", "1", tally)
    assert (stats.last_inference, stats.inference_count, stats.execution_count) == (7000, 4, 3)
    assert stats.inference_stats.success == Duration(2, 53_000_000)
    assert stats.inference_stats.fail == Duration(1, 4_000_000)
    assert stats.inference_stats.compute_input == Duration(2, 1_000_000)
    assert [(batch.batch_size, batch.compute_infer) for batch in stats.batch_stats] == [
        (1, Duration(1, 3_000_000)),
        (4, Duration(2, 42_000_000)),
    ]


def test_processes_add_up():
    one, other = Tally(), Tally()
    for tally, rows in ((one, 3), (other, 3), (other, 4)):
        tally.success(rows, queue_ms=1, run_ms=2, now_s=rows)
        tally.ran(rows, 2)
    whole = summed(
        [
            [statistics_of("m", "1", one), statistics_of("m", "2", one)],
            [statistics_of("m", "1", other)],
            [],
        ]
    )
    assert [(stats.version, stats.inference_count) for stats in whole] == [("1", 10), ("2", 3)]
    assert whole[0].inference_stats.queue == Duration(3, 3_000_000)
    assert whole[0].last_inference == 4000
    assert [(batch.batch_size, batch.compute_infer.count) for batch in whole[0].batch_stats] == [
        (3, 2),
        (4, 1),
    ]


def test_clients_cannot_make_it_count_ever_more():
    tally = Tally()
    for rows in range(1, 5000):
        tally.ran(rows, 1)
    assert len(tally.runs) < 1100
    assert statistics_of("m", "1", tally).execution_count == 4999


def test_of_all_of_one_model_and_of_one_version():
    tally = Tally()
    tally.success(rows=2, queue_ms=0, run_ms=1, now_s=1)

    def version(name, number):
        return Version(Key(name, number), Model(name, number, Signature((), ()), lambda feed, names: []))

    tallies = {("a", 1): tally, ("a", 2): tally, ("b", 1): tally}
    table = Table(
        [version("a", 1), version("a", 2), version("b", 1), Version(Key("cold", 1))], {"a": {"old": 1}}
    )

    def asked(name, number=""):
        return [(s.name, s.version, s.inference_count) for s in counted(table, tallies, name, number)]

    assert asked("") == [("a", "1", 2), ("a", "2", 2), ("b", "1", 2), ("cold", "1", 0)]
    assert asked("a") == [("a", "1", 2), ("a", "2", 2)]
    assert asked("a", "2") == [("a", "2", 2)]
    assert asked("a@old") == [("a", "1", 2)]
    for name, number in (("none", ""), ("a", "9")):
        with pytest.raises(Refused, match="FS202"):
            asked(name, number)
