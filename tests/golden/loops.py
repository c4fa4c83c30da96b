"""Loops of every kind: keys in ids come from the loop variables."""

import datetime

from shared_steps import fetch, scale
from flowc import workflow


@workflow
def main(rate: float):
    results = {}
    for region in ("north", "south/east"):
        for day in (datetime.date(2024, 2, 28), datetime.date(2024, 2, 29)):
            raw = fetch(f"{region}-{day}")
            results[region] = scale(raw, rate)
    for i, (name, factor) in enumerate([("a", 0.5), ("b", 2)]):
        pair = scale(results["north"], factor)
    current, left = pair, 3
    while left:
        current = scale(current)
        left -= 1
    grid = [[scale(current, x * y) for x in (1, 2)] for y in (1, 3)]
    return {"grid": grid, "last": current}
