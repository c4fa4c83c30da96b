"""The registry of types: every built-in one is described; definitions make and unmake values."""

import pytest

from flowc.plan import registry
from flowc.plan.diagnostics import Refused
from flowc.plan.registry import BUILT_IN, TypeDefinition, definition_of, definition_of_class, examine
from flowc.plan.types import BUILTIN, parse


class Point:
    def __init__(self, x):
        self.x = x


class Corner(Point):
    pass


def _positive(point):
    if point.x < 0:
        raise ValueError("not that far west")


POINT = TypeDefinition(
    cls=Point,
    about="a place",
    component="map",
    encode=lambda p: [p.x],
    decode=lambda parts: Point(*parts),
    validate=_positive,
)


@pytest.fixture
def entry_points(monkeypatch):
    """What installed packages offer, as a list to fill."""
    offered = []

    class EntryPoint:
        dist = None
        module = "geo"

        def __init__(self, name, found):
            self.name, self.value, self.found = name, f"geo:{name}", found

        def load(self):
            if isinstance(self.found, Exception):
                raise self.found
            return self.found

    monkeypatch.setattr(
        "importlib.metadata.entry_points", lambda group: [EntryPoint(n, f) for n, f in offered]
    )
    registry.installed.cache_clear()
    yield offered
    registry.installed.cache_clear()


def test_every_built_in_type_says_what_it_is_and_how_it_is_chosen():
    assert BUILTIN.keys() <= BUILT_IN.keys()
    assert all(d.about and d.component for d in BUILT_IN.values())


def test_a_class_is_found_by_its_name_and_by_a_subclass(entry_points):
    entry_points.append(("point", POINT))
    found = definition_of(f"{__name__}:Point")
    assert (found.component, found.origin) == ("map", "geo")
    assert definition_of_class(Corner) is found
    assert definition_of_class(int) is None
    assert found.make([3]).x == 3
    assert found.parts(Point(3)) == [3]


@pytest.mark.parametrize("text", ["{}", "{} | None", "list[{}]", "dict[str, {}]"])
def test_plain_values_are_examined_wherever_they_stand(entry_points, text):
    entry_points.append(("point", POINT))
    of = parse(text.format(f"{__name__}:Point"))
    value = {"list": [[-1]], "dict": {"a": [-1]}}.get(of.name, [-1])
    with pytest.raises(ValueError, match="not that far west"):
        examine(value, of, {})


@pytest.mark.parametrize(
    ("offered", "why"),
    [
        (ImportError("no geo"), "does not load: ImportError: no geo"),
        (Point, "is no `TypeDefinition` with a class"),
        (TypeDefinition(about="", component=""), "is no `TypeDefinition` with a class"),
    ],
)
def test_a_broken_definition_is_refused(entry_points, offered, why):
    entry_points.append(("point", offered))
    with pytest.raises(Refused, match="FC109") as refusal:
        registry.installed()
    assert why in refusal.value.diagnostics[0].message


def test_two_definitions_of_a_class_are_refused(entry_points):
    entry_points += [("point", POINT), ("spot", POINT)]
    with pytest.raises(Refused) as refusal:
        registry.installed()
    assert "is defined already" in refusal.value.diagnostics[0].message
