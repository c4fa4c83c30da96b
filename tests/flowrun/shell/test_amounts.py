"""Times and sizes, written and read."""

import pytest

from flowrun.shell.amounts import duration, duration_ms, moment, size, size_mb


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("2h", 7_200_000),
        ("1.5 h", 5_400_000),
        ("1h30m", 5_400_000),
        ("1h 30 min", 5_400_000),
        ("90", 90_000),
        ("250ms", 250),
        ("1d", 86_400_000),
        ("", None),
        ("soon", None),
        ("2 weeks", None),
        ("-3s", None),
        ("1e9h", None),
        ("9" * 400, None),
    ],
)
def test_times_are_read(text, ms):
    assert duration_ms(text) == ms


@pytest.mark.parametrize(
    ("text", "mb"),
    [("64GB", 65536), ("1 TiB", 1048576), ("512", 512), ("x", None), ("GB", None), ("nan", None)],
)
def test_sizes_are_read(text, mb):
    assert size_mb(text) == mb


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "0 ms"),
        (999, "999 ms"),
        (1234, "1.23 s"),
        (59_940, "59.9 s"),
        (60_000, "1 min"),
        (200_400, "3 min 20 s"),
        (3_599_999, "1 h"),
        (15_420_000, "4 h 17 min"),
        (183_600_000, "2 d 3 h"),
        (400 * 86_400_000, "400 d"),
    ],
)
def test_times_are_written(ms, text):
    assert duration(ms) == text


def test_round_times_and_sizes():
    assert [moment(ms) for ms in (0, 200, 5000, 90_000, 5_400_000)] == [
        "0",
        "200 ms",
        "5 s",
        "1.5 min",
        "1.5 h",
    ]
    assert [size(mb) for mb in (512, 24064, 2 * 1024**2)] == ["512 MB", "23.5 GB", "2 TB"]
