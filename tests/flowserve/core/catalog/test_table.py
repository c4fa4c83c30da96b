"""Models are found by name, version and alias; what is not there is answered with what is."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Cold, Version
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature


def version(name: str, number: int) -> Version:
    return Version(Key(name, number), Model(name, number, Signature((), ()), lambda feed, outputs: []))


TABLE = Table(
    [version("iris", 10), version("churn", 1), version("iris", 9)], {"iris": {"production": 9, "canary": 10}}
)


def test_the_latest_version_is_the_highest_number():
    assert TABLE.resolve("iris").version == 10
    assert TABLE.versions("iris") == ["9", "10"]
    assert TABLE.aliases("iris") == {"production": 9, "canary": 10}


@pytest.mark.parametrize(
    ("name", "tag"), [("iris", "9"), ("iris", "production"), ("iris@production", ""), ("iris@9", "")]
)
def test_tags(name, tag):
    assert TABLE.resolve(name, tag).version == 9


def test_the_default_alias_is_what_a_name_alone_means():
    assert (
        Table([version("iris", 1), version("iris", 2)], {"iris": {"default": 1}}).resolve("iris").version == 1
    )


def test_what_failed_is_refused_with_its_reason_and_nothing_goes_in_its_place():
    failed = {"iris": {10: "it is broken"}, "churn": {1: "too old", 2: "too new"}}
    table = Table([version("iris", 9)], {"iris": {"production": 10, "stable": 9}}, failed=failed)
    assert table.resolve("iris") is table.resolve("iris@stable") is table.resolve("iris@9")
    for name, tag in [("iris", "10"), ("iris@10", "")]:
        with pytest.raises(Refused, match=r"^.FS103. it is broken$"):
            table.resolve(name, tag)
    for name, tag in [("iris", "production"), ("iris@production", "")]:
        with pytest.raises(Refused, match=r"FS103.*`iris@production` names version 10, .*: it is broken"):
            table.resolve(name, tag)
    for name, tag in [("churn", ""), ("churn", "1"), ("churn@x", "")]:
        with pytest.raises(Refused, match=r"FS103.*no version of model `churn` serves: too new"):
            table.resolve(name, tag)
    with pytest.raises(Refused, match="FS202"):
        table.resolve("iris", "11")
    default = Table([version("iris", 9)], {"iris": {"default": 10}}, failed=failed)
    with pytest.raises(Refused, match=r"FS103.*`iris@default` names version 10, .*: it is broken"):
        default.resolve("iris")
    assert default.resolve("iris", "9").version == 9
    assert default.defaults() == []


def test_order_is_by_name_and_version():
    assert [(v.key.name, v.key.version) for v in TABLE] == [("churn", 1), ("iris", 9), ("iris", 10)]


@pytest.mark.parametrize(
    ("name", "tag", "found"),
    [
        ("", "", [("churn", 1), ("iris", 9), ("iris", 10)]),
        ("iris", "", [("iris", 9), ("iris", 10)]),
        ("iris", "10", [("iris", 10)]),
        ("iris@production", "", [("iris", 9)]),
    ],
)
def test_of_all_models_of_one_and_of_one_version(name, tag, found):
    assert [(key.name, key.version) for key in TABLE.keys(name, tag)] == found


@pytest.mark.parametrize(("name", "tag"), [("none", ""), ("iris", "7")])
def test_of_what_is_not_there(name, tag):
    with pytest.raises(Refused, match="FS202"):
        TABLE.keys(name, tag)


def test_what_is_not_in_memory_is_counted_and_named():
    cold = Version(Key("big", 1))
    with pytest.raises(Cold) as caught:
        Table([cold]).resolve("big")
    assert caught.value.version is cold
    assert cold.uses == 1


@pytest.mark.parametrize(
    ("name", "tag", "message"),
    [
        ("irsi", "", "[FS202] there is no model `irsi`; the server has `churn`, `iris`"),
        ("irsi@x", "", "[FS202] there is no model `irsi`"),
        ("churn", "2", "[FS202] model `churn` has no version `2`; it has `1`"),
        ("iris", "1", "has no version `1`; it has `9`, `10`, and the aliases `canary`, `production`"),
        ("iris", "latest", "[FS202] model `iris` has no version or alias `latest`; it has `9`"),
        ("iris@", "", "[FS202] model `iris` has no version or alias ``"),
        ("iris@production", "9", "`iris@production` names a version already, and `9` is another"),
    ],
)
def test_what_is_not_there(name, tag, message):
    with pytest.raises(Refused) as caught:
        TABLE.resolve(name, tag)
    assert message in str(caught.value)
