"""Values are verified in a thread, one after the other; whatever is wrong with one, there is a verdict."""

import select

import pytest

from flowrun.core.model import Artifact
from flowrun.shell.store.artifacts import Store
from flowrun.shell.store.verifier import Verifier


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path)


@pytest.fixture
def verifier(store):
    verifier = Verifier(store)
    yield verifier
    verifier.close()


def verdicts(verifier, count):
    found = []
    while len(found) < count:
        assert select.select([verifier.woken], [], [], 20)[0], "nothing comes"
        verifier.heard()
        found += verifier.verdicts()
    return found


def test_what_is_intact_is_sound_and_what_is_not_is_not(store, verifier):
    sound, damaged, gone = (store.put(f"{n}" * 5000) for n in range(3))
    path = store.path(damaged.hash)
    path.chmod(0o644)
    path.write_bytes(b"nonsense")
    store.path(gone.hash).unlink()
    for node, artifact in (("a", sound), ("b", damaged), ("c", gone), ("d", Artifact("no hash", 7))):
        verifier.put("main-1", node, artifact)
    found = verdicts(verifier, 4)
    assert [(one.run, one.node, one.sound) for one in found] == [
        ("main-1", "a", True),
        ("main-1", "b", False),
        ("main-1", "c", False),
        ("main-1", "d", False),
    ]
    assert found[0].artifact == sound


def test_nothing_asked_nothing_told(verifier):
    assert verifier.verdicts() == []
    verifier.heard()
