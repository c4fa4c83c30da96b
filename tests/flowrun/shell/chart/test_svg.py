"""Charts as drawings."""

import re
import xml.etree.ElementTree as ElementTree

import graphs
from predicting import played

from flowrun.shell.chart.svg import draw


def drawn(text, times=None, critical=(), told=("a line",), **options):
    return draw(played(text, times, **options).timeline, "the title", told, critical)


def parts(svg, kind):
    root = ElementTree.fromstring(svg)
    return [part for part in root.iter() if kind in part.get("class", "").split()]


def words(svg):
    return [text for part in ElementTree.fromstring(svg).iter() if (text := (part.text or "").strip())]


def test_a_bar_for_each_node_as_long_as_it_took():
    svg = drawn("a\nb < a", {"a": 300}, start_ms=100)
    bars = [float(bar.get("width")) for bar in parts(svg, "run")]
    assert bars == [380.0, 126.7]
    assert len(parts(svg, "wait")) == 3  # and one in the legend
    assert {"the title", "a line", "a", "b", "cpus", "memory"} <= set(words(svg))


def test_many_nodes_are_a_curve_and_the_file_stays_small():
    text = "\n".join(f"s{i % 5}/a[{i}]" for i in range(3000))
    svg = drawn(text, on=graphs.host(cpus=16))
    assert len(parts(svg, "run")) == 5
    assert "×600" in words(svg)
    assert "up to 4" in words(svg)
    assert len(svg) < 40_000


def test_gpus_have_lanes():
    svg = drawn("a gpus=1\nb gpus=1 < a\nc gpus=2 < b", on=graphs.host(gpus=[10, 10]))
    assert {"0 GPU", "1 GPU", "GPUs", "100 %", "33 %"} <= set(words(svg))


def test_what_decides_the_end_is_marked():
    svg = drawn("a\nb", {"b": 200}, critical={"b"})
    assert len(parts(svg, "critical")) == 1
    assert "decides the end" in words(svg)


def test_names_cannot_break_out_and_nothing_is_loaded():
    svg = draw(played('a["<&]').timeline, "<b>&\x00", ["<i>"])
    assert "<b>&\ufffd" in words(svg)
    assert re.findall(r"(?:href|src|url\()", svg) == []


def test_the_same_schedule_gives_the_same_bytes():
    assert drawn("a\nb < a") == drawn("a\nb < a")


def test_nothing():
    assert "the title" in words(drawn(""))
