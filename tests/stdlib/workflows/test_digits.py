from stdlib.types import Published
from stdlib.workflows.digits import digits


def test_it_runs_as_plain_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = digits()
    assert result["published"] == Published("digits", 1, "models/digits/1")
    ranked = result["leaderboard"]
    assert [line.rank for line in ranked] == [1, 2, 3, 4, 5, 6]
    assert ranked[0].accuracy >= 0.97
