"""Models are found by name and version; what is not there is answered with what is."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.models.registry import Model, Registry
from flowserve.core.models.signature import Signature


def model(name: str, version: int) -> Model:
    return Model(name, version, Signature((), ()), lambda feed, outputs: [])


REGISTRY = Registry([model("iris", 10), model("churn", 1), model("iris", 9)])


def test_the_latest_version_is_the_highest_number():
    assert REGISTRY.get("iris").version == 10
    assert REGISTRY.get("iris", "9").version == 9
    assert REGISTRY.versions("iris") == ["9", "10"]


def test_order_is_by_name_and_version():
    assert [(m.name, m.version) for m in REGISTRY] == [("churn", 1), ("iris", 9), ("iris", 10)]


@pytest.mark.parametrize(
    ("name", "version", "message"),
    [
        ("irsi", "", "[FS202] there is no model `irsi`; the server has `churn`, `iris`"),
        ("irsi", "1", "[FS202] there is no model `irsi`"),
        ("iris", "1", "[FS202] model `iris` has no version `1`; it has `9`, `10`"),
        ("iris", "latest", "[FS202] model `iris` has no version `latest`"),
    ],
)
def test_what_is_not_there(name, version, message):
    with pytest.raises(Refused) as caught:
        REGISTRY.get(name, version)
    assert message in str(caught.value)
