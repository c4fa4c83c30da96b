"""What was counted, as the statistics extension says it."""

from flowserve.core.engine.tally import Tally
from flowserve.core.models.key import Key
from flowserve.core.observe.measures import measured, together
from flowserve.core.observe.statistics import BatchStatistics, Duration, statistics

# 10 us to be found, 1 ms to be read, 3 ms in which it ran for 1, and 2 to be written.
TIMES = (7.0, 7.00001, 7.00101, 7.00401, 7.00601, 0.0, 1.0, 4)


def test_what_was_counted_adds_up():
    tally = Tally()
    tally.success(rows=3, queue_ms=10, run_ms=20, now_s=5)
    tally.success(rows=1, queue_ms=0, run_ms=20, now_s=7)
    tally.answered(TIMES)
    tally.failure(4)
    tally.ran(4, 40)
    tally.ran(4, 2)
    tally.ran(1, 3)
    (stats,) = statistics([Key("m", 1)], [measured("m", 1, tally)])
    assert (stats.last_inference, stats.inference_count, stats.execution_count) == (7000, 4, 3)
    assert stats.inference_stats.success == Duration(2, 53_000_000)
    assert stats.inference_stats.fail == Duration(1, 4_000_000)
    assert stats.inference_stats.queue == Duration(2, 10_000_000)
    assert stats.inference_stats.compute_input == Duration(2, 1_000_000)
    assert stats.inference_stats.compute_infer == Duration(2, 40_000_000)
    assert stats.inference_stats.compute_output == Duration(2, 2_000_000)
    assert stats.batch_stats == [
        BatchStatistics(1, Duration(1, 0), Duration(1, 3_000_000), Duration(1, 0)),
        BatchStatistics(4, Duration(2, 1_000_000), Duration(2, 42_000_000), Duration(2, 2_000_000)),
    ]


def test_reading_and_writing_is_counted_with_the_rows_of_the_run():
    one, other = Tally(), Tally()
    for tally, sizes in ((one, (4, 1, 4)), (other, (4, 0))):
        for rows in sizes:
            tally.ran(rows, 1)
            tally.answered((*TIMES[:-1], rows))
    (stats,) = statistics([Key("m", 1)], together([[measured("m", 1, one)], [measured("m", 1, other)]]))
    assert {batch.batch_size: (batch.compute_input, batch.compute_output) for batch in stats.batch_stats} == {
        0: (Duration(1, 1_000_000), Duration(1, 2_000_000)),
        1: (Duration(1, 1_000_000), Duration(1, 2_000_000)),
        4: (Duration(3, 3_000_000), Duration(3, 6_000_000)),
    }


def test_what_the_cache_answered_takes_no_inference():
    tally = Tally()
    tally.success(rows=1, queue_ms=0, run_ms=5, now_s=1)
    tally.misses, tally.miss_ms = 1, 2
    tally.hit(ms=1, now_s=2)
    (stats,) = statistics([Key("m", 1)], [measured("m", 1, tally)])
    of = stats.inference_stats
    assert (of.success, of.compute_infer) == (Duration(2, 8_000_000), Duration(1, 5_000_000))
    assert (of.cache_hit, of.cache_miss) == (Duration(1, 1_000_000), Duration(1, 2_000_000))


def test_processes_add_up():
    one, other = Tally(), Tally()
    for tally, rows in ((one, 3), (other, 3), (other, 4)):
        tally.success(rows, queue_ms=1, run_ms=2, now_s=rows)
        tally.ran(rows, 2)
    measures = together(
        [[measured("m", 1, one), measured("m", 2, one)], [measured("m", 1, other)], []],
    )
    whole = statistics([Key("m", 1), Key("m", 2), Key("idle", 1)], measures)
    assert [(of.name, of.version, of.inference_count) for of in whole] == [
        ("m", "1", 10),
        ("m", "2", 3),
        ("idle", "1", 0),
    ]
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
        tally.answered((*TIMES[:-1], rows))
    assert len(tally.runs) < 1100
    assert len(tally.read_and_written_ms) < 1100
    (stats,) = statistics([Key("m", 1)], [measured("m", 1, tally)])
    assert stats.execution_count == 4999
