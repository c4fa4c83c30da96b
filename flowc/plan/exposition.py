"""Metrics as text for a scrape: Prometheus' text format, and OpenMetrics.

Sources: Prometheus' `exposition_formats.md` and `OpenMetrics 1.0`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Sample = tuple[str, Mapping[str, str], float]
"""A suffix of the family's name, labels, a value."""


class Metric(msgspec.Struct, frozen=True):
    """A family of samples. A counter's name ends in `_total`; one of another system's may not."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    about: str
    samples: Sequence[Sample]


def single(name: str, kind: Literal["counter", "gauge"], about: str, value: float) -> Metric:
    """A family of one sample without labels."""
    return Metric(name, kind, about, [("", {}, value)])


def by(label: str, counts: Mapping[str, float]) -> list[Sample]:
    """A sample for each value of one label."""
    return [("", {label: name}, value) for name, value in counts.items()]


def histogram(
    labels: Mapping[str, str], bounds: Sequence[float], counts: Sequence[int], total: float
) -> Iterator[Sample]:
    """The samples of a histogram. `counts` are of each bucket alone, the last of what is above all bounds."""
    seen = 0
    for bound, more in zip((*(f"{bound:g}" for bound in bounds), "+Inf"), counts, strict=True):
        seen += more
        yield "_bucket", {**labels, "le": bound}, seen
    yield "_sum", labels, total
    yield "_count", labels, seen


def exposition(metrics: Iterable[Metric], openmetrics: bool = False) -> str:
    """Families as text; those without samples are left out."""
    parts = [part for metric in metrics if metric.samples for part in _family(metric, openmetrics)]
    return "".join([*parts, "# EOF\n"] if openmetrics else parts)


def accepts_openmetrics(accept: str) -> bool:
    """Whether a scrape takes OpenMetrics, by its `Accept`: who does not know it does not name it."""
    return "application/openmetrics-text" in accept


def _family(metric: Metric, openmetrics: bool) -> Iterator[str]:
    name, kind = metric.name, str(metric.kind)
    if openmetrics and kind == "counter":
        # There a counter's samples have a suffix that its name has not; what has no suffix is no counter.
        kind = "counter" if name.endswith("_total") else "unknown"
        name = name.removesuffix("_total")
    yield f"# HELP {name} {_escaped(metric.about) if openmetrics else metric.about}\n# TYPE {name} {kind}\n"
    for suffix, labels, value in metric.samples:
        inside = ",".join([f'{label}="{_escaped(text)}"' for label, text in labels.items()])
        yield (
            f"{metric.name}{suffix}{{{inside}}} {_number(value)}\n"
            if inside
            else (f"{metric.name}{suffix} {_number(value)}\n")
        )


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(round(value, 9))


def _escaped(text: str) -> str:
    if text.isalnum():
        return text
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
