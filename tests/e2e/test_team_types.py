"""A team's own type, in a distribution of its own: compiled, given, stored, read back, refused."""

import json

import pytest
from project import Project

PACKAGE = """
from flowc.types import TypeDefinition

class Track:
    \"\"\"A path on a map. It is no dataclass: nothing but the definition below knows what is inside.\"\"\"
    def __init__(self, name, points):
        self.name, self.points = name, points

def encode(track):
    points = track.points if len(track.points) > 100 else track.points.tolist()
    return {"name": track.name, "points": points}

def decode(parts):
    import numpy as np
    try:
        return Track(parts["name"], np.asarray(parts["points"], dtype=np.float64))
    except (KeyError, TypeError):
        raise ValueError("a track is an object with `name` and `points`") from None

def validate(track):
    if track.points.ndim != 2 or track.points.shape[1] != 2:
        raise ValueError("`points` must be pairs of longitude and latitude")

TRACK = TypeDefinition(
    cls=Track, about="a path on a map", component="map-drawing",
    json_schema={"type": "object", "required": ["name", "points"]},
    encode=encode, decode=decode, validate=validate,
)
"""
FLOW = """
import numpy as np
from geo import Track

HOME = np.array([[0.0, 1.0], [0.0, 3.0]])

@operator
def reverse(track: Track, laps: int = 1) -> Track:
    return Track(track.name[::-1], np.concatenate([track.points[::-1]] * laps))

@operator
def broken(track: Track) -> Track:
    return Track(track.name, np.zeros(3))

@operator
def length(tracks: list[Track]) -> float:
    return sum(float(np.abs(np.diff(track.points, axis=0)).sum()) for track in tracks)

@workflow
def main(track: Track):
    back = reverse(track)
    again = reverse(Track("home", HOME), laps=2)
    return {"length": length([track, back, again])}

@workflow
def failing(track: Track):
    return broken(track)
"""
GIVEN = 'track={"name": "ab", "points": [[0, 0], [0, 4]]}'


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("team")
    (folder / "geo.py").write_text(PACKAGE)
    installed = folder / "geo-1.2.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: geo\nVersion: 1.2\n")
    (installed / "entry_points.txt").write_text("[flow.types]\ntrack = geo:TRACK\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(folder))
        yield Project(folder, FLOW)


def test_it_is_listed(project):
    listed = json.loads(project.command("flowc", "types", "--json", status=0).stdout)
    (track,) = [row for row in listed if row["name"] == "geo:Track"]
    assert (track["component"], track["from"], track["about"]) == (
        "map-drawing",
        "geo 1.2",
        "a path on a map",
    )
    assert "map-drawing" in project.command("flowc", "types", status=0).stdout


def test_a_launch_form_gets_its_component(project):
    schema = json.loads(project.command("flowc", "schema", project.plan, status=0).stdout)
    assert schema["properties"]["track"]["x-flow-component"] == "map-drawing"
    assert schema["$defs"]["geo:Track"]["required"] == ["name", "points"]


def test_values_are_stored_and_read_back(project):
    project.execute("-i", GIVEN)
    assert project.json("show")["result"] == {"length": 14.0}


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("track=3", "a track is an object with `name` and `points`"),
        ('track={"name": "ab", "points": [1, 2]}', "`points` must be pairs of longitude and latitude"),
    ],
)
def test_an_input_is_validated_when_it_is_bound(project, given, why):
    refused = project.execute("-i", given, status=1).stderr
    assert "FR103" in refused
    assert why in refused


def test_a_result_is_validated_before_it_is_stored(project):
    project.command("flowc", "compile", "flows.py:failing", status=0)
    failed = project.flowrun("execute", "plans/failing.plan.jsonl", "-i", GIVEN, status=1)
    assert "FR204" in failed.stdout + failed.stderr
    assert "`points` must be pairs" in failed.stdout + failed.stderr
