"""What clients of one process see of the models of all, with a supervisor that is a list."""

import pytest

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.models.key import Key
from flowserve.core.observe.statistics import ModelStatistics
from flowserve.shell.models.serving import Serving
from flowserve.shell.processes.control import Load, ModelRow, Unload
from flowserve.shell.processes.messages import Asked, Count, Told
from flowserve.shell.processes.repository import SupervisedRepository


def repository(control=True):
    asked = []
    serving = Serving(Table([Version(Key("m", 1))]))
    return SupervisedRepository(serving, asked.append, control), asked


def test_the_index_has_what_is_not_served_too():
    models, _ = repository()
    assert models.index() == []
    models.known(
        [
            ModelRow("m", 1, "ready", [], "", True),
            ModelRow("m", 2, "failed", [], "it does not load", False),
            ModelRow("m", 3, "known", [], "", False),
            ModelRow("m", 4, "loading", [], "", False),
            ModelRow("m", 5, "ready", [], "its files are gone", True),
        ]
    )
    assert [(entry.version, entry.state, entry.reason) for entry in models.index()] == [
        ("1", "READY", ""),
        ("2", "UNAVAILABLE", "it does not load"),
        ("3", "UNAVAILABLE", "unloaded"),
        ("4", "LOADING", ""),
        ("5", "READY", "its files are gone"),
    ]


def test_the_supervisor_is_asked_and_answers_in_any_order():
    models, asked = repository()
    heard = []
    models.load("m", {}, lambda refused: heard.append(("load", refused)))
    models.unload("n", True, lambda refused: heard.append(("unload", refused)))
    assert asked == [Asked(1, Load("m")), Asked(2, Unload("n"))]
    models.told(Told(2))
    models.told(Told(1, (Diagnostic("FS107", "it does not load"),)))
    assert heard[0] == ("unload", None)
    assert str(heard[1][1]) == "[FS107] it does not load"


def test_what_requests_may_not():
    models, asked = repository(control=False)
    with pytest.raises(Refused, match="FS230"):
        models.load("m", {}, print)
    with pytest.raises(Refused, match="FS230"):
        models.unload("m", False, print)
    models, asked = repository()
    with pytest.raises(Refused, match=r"FS230.*`config`"):
        models.load("m", {"config": "{}"}, print)
    assert asked == []


def test_statistics_are_of_all_processes():
    heard = []
    models, asked = repository()
    models.statistics("m", "", heard.append)
    assert asked == [Asked(1, Count([Key("m", 1)]))]
    models.told(Told(1, statistics=[ModelStatistics("m", "1", inference_count=7)]))
    assert heard[0][0].inference_count == 7
    with pytest.raises(Refused, match="FS202"):
        models.statistics("none", "", heard.append)


def test_not_too_many_wait():
    models, asked = repository()
    for _ in range(64):
        models.load("m", {}, print)
    with pytest.raises(Refused, match="FS107"):
        models.load("m", {}, print)
    assert len(asked) == 64
