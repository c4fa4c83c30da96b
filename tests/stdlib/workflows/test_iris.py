from stdlib.types import Published
from stdlib.workflows.iris import iris


def test_it_runs_as_plain_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert iris(epochs=10) == Published("iris", 1, "models/iris/1")
    assert (tmp_path / "models/iris/1/model.onnx").stat().st_size > 500
