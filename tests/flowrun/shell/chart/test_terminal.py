"""Charts of characters."""

import graphs
from predicting import played

from flowrun.shell.chart.terminal import draw


def lines(text, times=None, columns=60, most=24, critical=(), **options):
    return draw(played(text, times, **options).timeline, columns, critical, most)


def test_a_node_is_a_bar_and_its_start_is_lighter():
    found = lines("a\nb < a", {"a": 150, "b": 50}, start_ms=50, critical={"b"})
    assert found == [
        "        0              100 ms         200 ms         300 ms",
        " a      ░░░░░░░▐██████████████████████                200 ms",
        "*b                                    ░░░░░░░▐███████ 100 ms",
        "",
        "cpus    ▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄ 50 %",
        "memory                                                0 %",
    ]


def test_many_nodes_are_a_curve_for_each_site():
    text = "\n".join(f"a[{i}]" for i in range(40)) + "\nb < a[39]"
    found = lines(text, on=graphs.host(cpus=4, gpus=[10]))
    assert found == [
        "        0                   500 ms              1 s",
        " a ×40  ████████████████████████████████████████     up to 4",
        " b                                              ████ 100 ms",
        "",
        "cpus    ████████████████████████████████████████▂▂▂▂ 93 %",
        "memory                                               0 %",
        "gpus                                                 0 %",
    ]


def test_what_is_short_is_seen_and_long_names_are_cut():
    found = lines("quick\n" + "n" * 50, {"quick": 1, "n" * 50: 100_000})
    assert "▌" in found[1]
    assert "n…" in found[2]


def test_no_line_is_wider_than_asked_for():
    found = lines("\n".join(f"a{i}" for i in range(20)), columns=80, on=graphs.host(cpus=3))
    assert max(map(len, found)) <= 80


def test_nothing():
    assert [line.split() for line in lines("")] == [["0"], [], ["cpus", "0", "%"], ["memory", "0", "%"]]
