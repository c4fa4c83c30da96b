"""`docs/formats/run-log.md` tells every change, and what a run is opened with."""

import re
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from flowrun.core.changes import AnyChange, Command, Earlier, Event, Opened, Resolved

PAGE = (Path(__file__).parents[3] / "docs" / "formats" / "run-log.md").read_text(encoding="utf-8")


def tags(changes):
    return {change.__struct_config__.tag for change in get_args(changes)}


def test_the_page_tells_every_change_and_who_makes_it():
    rows = re.findall(r"^\| (`.*?) \| (world|core) \|", PAGE, re.MULTILINE)
    told = {tag: by for cell, by in rows for tag in re.findall(r"`(\w+)`", cell)}
    assert told.keys() == tags(AnyChange)
    assert {tag for tag, by in told.items() if by == "core"} == tags(Command) - tags(Event)


@pytest.mark.parametrize("change", [Opened, Earlier, Resolved])
def test_the_page_tells_their_members(change):
    members = {field.encode_name for field in msgspec.structs.fields(change)} - {"at_ms", "node"}
    assert members <= set(re.findall(r"`(\w+)`", PAGE))
