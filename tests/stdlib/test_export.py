import dataclasses

import numpy as np
import pytest

import stdlib.models
from stdlib import export
from stdlib.types import Published


def test_an_exported_model_gives_what_the_trained_one_gives(data, trained, case, run_onnx):
    model, rows = trained(case), data[case[0]]
    exported = export.to_onnx(model, rows)
    label, probabilities = run_onnx(exported.onnx, rows.features)
    native = stdlib.models.predict(model, rows.features)
    np.testing.assert_allclose(probabilities, native, rtol=1e-4, atol=1e-5)
    second, first = np.sort(native, axis=1)[:, -2:].T
    clear = first - second > 2e-5
    assert (label == native.argmax(axis=1))[clear].all()
    assert clear.mean() > 0.98
    assert exported.compared_rows == rows.rows
    # Not equal: here onnxruntime may add up with several threads.
    assert exported.largest_difference == pytest.approx(np.abs(probabilities - native).max(), abs=1e-6)
    assert exported.largest_difference < 1e-5


def test_exporting_is_quiet(data, trained, capfd, recwarn):
    export.to_onnx(trained(("iris", "mlp")), data["iris"])
    out, err = capfd.readouterr()
    assert out.count("\n") == 1
    assert "the largest difference is" in out
    assert err == ""
    assert not recwarn.list


def test_a_wrong_probability_is_found(data, trained, monkeypatch):
    model = trained(("iris", "logistic"))
    other = dataclasses.replace(
        model, state={**model.state, "intercepts": model.state["intercepts"] + [1e-3, 0, 0]}
    )
    content = stdlib.models.to_onnx(other)
    monkeypatch.setattr(stdlib.models, "to_onnx", lambda model: content)
    with pytest.raises(ValueError, match=r"row \d+: the exported model gives \[.*\], the trained one \["):
        export.to_onnx(model, data["iris"])


def test_a_wrong_label_is_found_unless_it_is_a_tie():
    trained = np.array([[0.5, 0.5], [0.4, 0.6]])
    export._require_agreement(trained, np.array([1, 1]), trained)
    with pytest.raises(ValueError, match="row 1: the exported model gives class 0, the trained one 1"):
        export._require_agreement(trained, np.array([0, 0]), trained)


def test_no_rows_to_compare_on_are_refused(data, trained):
    iris = data["iris"]
    empty = dataclasses.replace(iris, features=iris.features[:0], target=iris.target[:0])
    with pytest.raises(ValueError, match="no rows to compare"):
        export.to_onnx(trained(("iris", "tree")), empty)


def test_publishing_adds_a_version(data, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for version, kind in enumerate(["tree", "forest"], start=1):
        model = export.to_onnx(trained(("iris", kind)), data["iris"])
        for _ in range(2):  # once more, as a retry would, adds nothing
            published = export.publish(model, name="flowers")
            assert published == Published("flowers", version, f"models/flowers/{version}")
            assert (tmp_path / published.path / "model.onnx").read_bytes() == model.onnx
    assert (tmp_path / "models/flowers/config.pbtxt").exists()
