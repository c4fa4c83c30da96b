"""What a process says that it has counted."""

from types import SimpleNamespace
from typing import Any, cast

from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.engine.tally import Tally
from flowserve.core.models.key import Key
from flowserve.shell.processes.measuring import measures

KEYS = [Key(f"m{number:02d}", 1) for number in range(50)]


def names(wanted=None):
    engine = cast(Any, SimpleNamespace(tallies={(key.name, key.version): Tally() for key in KEYS[:45]}))
    return [[of.name for of in some] for some in measures(Table(map(Version, KEYS)), engine, {}, wanted)]


def test_all_that_was_asked_for_is_told_of_a_few_at_a_time():
    assert [len(some) for some in names()] == [20, 20, 5]


def test_of_those_that_are_wanted_only():
    assert names(KEYS[44:46]) == [["m44"]]  # the other was asked for nothing
    assert names([Key("gone", 1)]) == []
