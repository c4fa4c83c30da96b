"""Where a table parts requests, and which side they get there."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.split import Split, Undecided
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Cold, Version
from flowserve.core.models.key import Key
from flowserve.core.rollout.evidence import Evidence
from flowserve.core.rollout.plan import Plan, Rollout, checked


def rollout(share=5.0) -> Rollout:
    return Rollout(1, 2, ("a", "b"), checked(Plan(steps=(share,), manual=True)))


def split(share=5.0) -> Split:
    sides = (Version(Key("iris", number, "s"), object()) for number in (1, 2))
    return Split("iris", "production", rollout(share), *sides, Evidence())


def test_a_header_goes_before_the_share():
    of = split(50.0)
    assert of.choose("always", "", 0.99) == ("candidate", True)
    assert of.choose(" Never", "", 0.0) == ("stable", True)
    assert of.choose("maybe", "", 0.49) == ("candidate", False)
    assert of.choose("", "", 0.51) == ("stable", False)
    of = split(99.0)
    assert of.choose("", "some key", 1.0) == ("candidate", False)


def test_a_table_splits_only_where_the_alias_is_asked_for():
    of = split()
    table = Table([of.stable, of.candidate], {"iris": {"production": 1}}, 1, [of])
    for name, tag in (("iris@production", ""), ("iris", "production")):
        with pytest.raises(Undecided) as undecided:
            table.route(name, tag)
        assert undecided.value.split is of
        assert table.resolve(name, tag) is of.stable.model  # what is described
    assert table.route("iris", "1") is of.stable.model
    assert table.route("iris@2") is of.candidate.model
    assert table.route("iris") is of.candidate.model  # no alias says otherwise
    with pytest.raises(Refused):
        table.route("none")
    of.candidate.model = None
    with pytest.raises(Cold):
        table.route("iris")


def test_the_bare_name_is_parted_by_a_rollout_of_default():
    versions = [Version(Key("iris", number, "s"), object()) for number in (1, 2)]
    of = Split("iris", "default", rollout(), *versions, Evidence())
    table = Table(versions, {"iris": {"default": 1}}, 1, [of])
    with pytest.raises(Undecided):
        table.route("iris")
    assert table.resolve("iris") is versions[0].model
