"""What is loaded is what was found, or nothing."""

import shutil

import pytest
from onnx_models import negative
from running import scaling

from flowc.plan.diagnostics import Refused
from flowserve.core.models.key import Key
from flowserve.shell.models import proving
from flowserve.shell.models.repository import look_at, publish, stamps


@pytest.fixture
def key(tmp_path):
    publish(tmp_path, "m", negative())
    return Key("m", 1, stamps(look_at(tmp_path, "m"))[1])


def test_a_version_as_it_was_found(tmp_path, key):
    assert proving.load_proven(tmp_path, key).name == "m"


def replaced(version):
    (version / "new").write_bytes(scaling(2))
    (version / "new").rename(version / "model.onnx")


def gone(version):
    shutil.rmtree(version)


@pytest.mark.parametrize("change", [replaced, gone])
def test_a_version_whose_files_change_while_it_is_loaded(tmp_path, key, monkeypatch, change):
    read = proving.load

    def changed_meanwhile(*arguments):
        model = read(*arguments)
        change(tmp_path / "m" / "1")
        return model

    monkeypatch.setattr(proving, "load", changed_meanwhile)
    with pytest.raises(Refused) as raised:
        proving.load_proven(tmp_path, key)
    [diagnostic] = raised.value.diagnostics
    assert diagnostic.code == "FS103"
    assert "its files changed meanwhile" in diagnostic.message
