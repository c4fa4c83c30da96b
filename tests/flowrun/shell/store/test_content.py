"""Files by content: written once, whole, verified when there is reason to."""

import fcntl
import os
import time

import pytest
from blake3 import blake3

from flowrun.shell.store import content
from flowrun.shell.store.content import Content, Damaged
from flowrun.shell.store.files import LARGE_BYTES, PARTIAL, SEALED_NS, Partial, remove_left

SMALL, LARGE = b"abc" * 100, os.urandom(3 * LARGE_BYTES)


@pytest.fixture
def store(tmp_path):
    return Content(tmp_path / "store")


def put(store, *pieces):
    return store.add([memoryview(piece) for piece in pieces])


def names(store):
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file() and path.name != ".lock")


def write(path, data, keep_time=False):
    """As a disk that forgets does, or somebody who writes into the store."""
    was = path.stat()
    path.chmod(0o644)
    path.write_bytes(data)
    if keep_time:
        os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns))


@pytest.mark.parametrize("pieces", [[b""], [SMALL], [b"head", SMALL], [LARGE], [b"head", LARGE, b"tail"]])
class TestWhatIsAdded:
    def test_lies_under_its_hash_and_cannot_be_written_to(self, store, pieces):
        digest = put(store, *pieces)
        data = b"".join(pieces)
        assert digest == blake3(data).hexdigest()
        found = store.path(digest).stat()
        assert store.path(digest).read_bytes() == store.read(digest) == data
        assert (found.st_mode & 0o777, found.st_mtime_ns) == (0o444, SEALED_NS)

    def test_is_there_once(self, store, pieces):
        first = put(store, *pieces)
        before = store.path(first).stat().st_ino
        assert put(store, *pieces) == first
        assert store.path(first).stat().st_ino == before
        assert len(names(store)) == 1

    def test_replaces_what_is_damaged(self, store, pieces):
        digest = put(store, *pieces)
        write(store.path(digest), b"nonsense", keep_time=True)
        assert put(store, *pieces) == digest
        assert store.is_intact(digest)

    @pytest.mark.parametrize("call", ["write", "fsync", "rename"])
    def test_or_nothing_is_left_of_it(self, store, pieces, call, monkeypatch):
        def full(*_):
            raise OSError(28, "No space left on device")

        if call == "write" and not any(pieces):
            pytest.skip("nothing is written")
        store.folder.mkdir()
        monkeypatch.setattr(os, call, full)
        with pytest.raises(OSError, match="No space left"):
            put(store, *pieces)
        assert names(store) == []


class TestReading:
    def test_a_large_file_is_not_verified_unless_it_was_written_to(self, store, monkeypatch):
        monkeypatch.setattr(content, "VERIFIED_BYTES", 10)
        digest = put(store, SMALL)
        write(store.path(digest), b"x" * 300, keep_time=True)
        assert store.checked(digest)
        os.utime(store.path(digest))
        with pytest.raises(Damaged) as caught:
            store.checked(digest)
        assert caught.value.digest == digest

    def test_a_small_one_always_is(self, store):
        digest = put(store, SMALL)
        write(store.path(digest), b"x" * 300, keep_time=True)
        with pytest.raises(Damaged, match="does not match its hash"):
            store.checked(digest)

    def test_one_that_was_copied_is_verified_once(self, store, monkeypatch):
        monkeypatch.setattr(content, "VERIFIED_BYTES", 10)
        digest = put(store, SMALL)
        os.utime(store.path(digest))
        store.checked(digest)
        assert store.path(digest).stat().st_mtime_ns == SEALED_NS

    @pytest.mark.parametrize("read", [Content.checked, Content.read])
    def test_what_is_not_there(self, store, read):
        with pytest.raises(Damaged, match="artifact ffffffffffff cannot be read: No such file") as caught:
            read(store, "f" * 64)
        assert caught.value.digest == "f" * 64


class TestRemoving:
    def test_what_is_old(self, store):
        digest = put(store, SMALL)
        assert store.remove(digest, time.time_ns() + 10**9)
        assert names(store) == []
        assert not store.remove(digest, time.time_ns())

    @pytest.mark.parametrize("refer", [lambda store, digest: store.hold(digest), lambda s, _: put(s, SMALL)])
    def test_not_what_somebody_refers_to_anew(self, store, refer):
        digest = put(store, SMALL)
        time.sleep(0.02)  # clocks of file systems tick slowly
        since = time.time_ns() - 10**7
        time.sleep(0.02)
        refer(store, digest)
        assert not store.remove(digest, since)
        assert store.is_intact(digest)
        assert store.path(digest).stat().st_mtime_ns == SEALED_NS

    def test_holding_what_is_not_there_or_damaged(self, store):
        assert not store.hold("f" * 64)
        digest = put(store, SMALL)
        write(store.path(digest), b"nonsense", keep_time=True)
        assert not store.hold(digest)


class TestPartialFiles:
    def test_one_that_is_taken_for_left_before_it_is_locked_is_made_anew(self, tmp_path, monkeypatch):
        flock, removed = fcntl.flock, []

        def late(descriptor, how):
            if not removed:
                removed.append(next(tmp_path.iterdir()))
                removed[0].unlink()
            flock(descriptor, how)

        monkeypatch.setattr(fcntl, "flock", late)
        partial = Partial(tmp_path)
        assert partial.path.exists()
        assert partial.path != removed[0]

    def test_are_told_from_those_that_were_left(self, tmp_path):
        partial = Partial(tmp_path)
        assert partial.path.name.startswith(PARTIAL)
        assert not remove_left(partial.path)
        os.close(partial.descriptor)  # as the kernel does when a process dies
        assert remove_left(partial.path, dry_run=True)
        assert remove_left(partial.path)
        assert not partial.path.exists()

    def test_are_gone_when_dropped(self, tmp_path):
        partial = Partial(tmp_path)
        partial.drop()
        partial.drop()
        assert not partial.path.exists()
        assert not remove_left(partial.path)
