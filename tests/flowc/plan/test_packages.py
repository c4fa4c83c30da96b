"""Versions of installed packages, from the names of metadata folders."""

import sys

import pytest

from flowc.plan.packages import installed


@pytest.fixture
def site(tmp_path, monkeypatch):
    """A folder of installed packages, the only one on the path; `add(distribution, files)` installs."""
    monkeypatch.setattr(sys, "path", [str(tmp_path), str(tmp_path / "not there")])

    def add(distribution, *files):
        for file in files:
            path = tmp_path / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        metadata = tmp_path / f"{distribution}.dist-info"
        metadata.mkdir()
        (metadata / "RECORD").write_text("".join(f"{file},sha256=x,0\n" for file in files))

    return add


def test_nothing_is_asked_and_nothing_found(site):
    assert installed([]) == {}
    assert installed(["numpy"]) == {}


def test_the_version_stands_in_the_folders_name(site):
    site("numpy-2.4.1", "numpy/__init__.py")
    site("torch-2.9.0+cpu", "torch/__init__.py")
    site("typing_extensions-4.1", "typing_extensions.py")
    site("Some.Name-1.0", "some_name/__init__.py")
    assert installed({"torch", "numpy", "typing_extensions", "some_name"}) == {
        "numpy": "2.4.1",
        "some_name": "1.0",
        "torch": "2.9.0+cpu",
        "typing_extensions": "4.1",
    }


def test_a_package_of_another_name_than_its_distribution(site):
    site("scikit_learn-1.9.1", "sklearn/__init__.py", "sklearn/tree.py")
    site("pyyaml-6.0", "yaml/__init__.py")
    site("attrs-25.1", "attr/__init__.py")
    site("one-1.0", "single.py")
    site("two-2.0", "fast.cpython-311-x86_64-linux-gnu.so")
    assert installed(["sklearn", "yaml", "attr", "single", "fast"]) == {
        "attr": "25.1",
        "fast": "2.0",
        "single": "1.0",
        "sklearn": "1.9.1",
        "yaml": "6.0",
    }


def test_a_module_that_distributions_share_has_the_versions_of_all(site):
    site("google_auth-2.0", "google/auth/__init__.py")
    site("protobuf-5.1", "google/protobuf/__init__.py")
    assert installed(["google"]) == {"google": "google-auth 2.0, protobuf 5.1"}


def test_what_no_distribution_installed_has_no_version(site, tmp_path):
    site("numpy-2.4.1", "numpy/__init__.py")
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "__init__.py").touch()
    assert installed(["own", "gone"]) == {}


def test_the_first_on_the_path_counts(site, tmp_path, monkeypatch):
    site("numpy-2.4.1", "numpy/__init__.py")
    (tmp_path / "before" / "numpy-2.5.0.dist-info").mkdir(parents=True)
    monkeypatch.setattr(sys, "path", [str(tmp_path / "before"), *sys.path])
    assert installed(["numpy"]) == {"numpy": "2.5.0"}
