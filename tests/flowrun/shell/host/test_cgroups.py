"""Control groups as a folder that pretends; and the real ones, where this machine delegates some."""

import os

import pytest

from flowrun.shell.host.cgroups import Group, delegated

MB = 1024 * 1024


@pytest.fixture
def tree(tmp_path):
    """A mount with the group of processes 7 and 8, and the file that says so."""
    group = tmp_path / "user" / "scope"
    group.mkdir(parents=True)
    for name, text in (
        ("cgroup.controllers", "cpu memory pids\n"),
        ("cgroup.procs", "7\n8\n"),
        ("cgroup.subtree_control", ""),
    ):
        (group / name).write_text(text)
    (tmp_path / "own").write_text("1:cpu:/old\n0::/user/scope\n")
    return tmp_path


def found(tree, family=(7, 8, 9), **of):
    return delegated(family, tree, tree / "own", **of)


class TestDelegated:
    def test_a_group_with_nobody_else_in_it(self, tree):
        folder = found(tree)
        assert folder == tree / "user" / "scope"
        assert (folder / "flowrun" / "cgroup.procs").read_text() == "8"  # the kernel takes one at a time
        assert (folder / "cgroup.subtree_control").read_text() == "+memory"

    def test_looking_changes_nothing(self, tree):
        folder = found(tree, read_only=True)
        assert not (folder / "flowrun").exists()

    def test_others_are_in_it(self, tree):
        assert found(tree, family=[7]) is None

    @pytest.mark.parametrize("text", ["cpu pids\n", None])
    def test_memory_is_not_handed_out(self, tree, text):
        file = tree / "user" / "scope" / "cgroup.controllers"
        file.write_text(text) if text else file.unlink()
        assert found(tree) is None

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    def test_it_is_not_ours_to_write_to(self, tree):
        (tree / "user" / "scope" / "cgroup.subtree_control").chmod(0o444)
        assert found(tree) is None

    @pytest.mark.parametrize("own", ["4:memory:/old\n", "", "0::/not/there\n"])
    def test_version_1_or_none(self, tree, own):
        (tree / "own").write_text(own)
        assert found(tree) is None
        assert delegated([1], tree, tree / "missing") is None


class TestGroup:
    @pytest.fixture
    def group(self, tmp_path, monkeypatch):
        """A group whose files the kernel would have made with its folder."""
        (tmp_path / "worker-7").mkdir()
        (tmp_path / "worker-7" / "memory.peak").write_text(f"{300 * MB}\n")
        monkeypatch.setattr("pathlib.Path.mkdir", lambda *_: None)
        return Group(tmp_path, 7)

    def test_has_its_process_and_a_limit(self, group):
        assert (group.folder / "cgroup.procs").read_text() == "7"
        assert (group.folder / "memory.oom.group").read_text() == "1"
        group.begin(64)
        assert (group.folder / "memory.max").read_text() == str(64 * MB)
        group.begin(0)
        assert (group.folder / "memory.max").read_text() == "max"

    def test_the_limit_is_written_when_it_changes(self, group):
        group.begin(64)
        (group.folder / "memory.max").unlink()
        group.begin(64)
        assert not (group.folder / "memory.max").exists()

    def test_its_peak(self, group):
        assert group.peak_mb() == 300
        group.begin(0)
        assert (group.folder / "memory.peak").read_text().startswith("reset")
        assert group.peak_mb() == 0  # a real one would begin anew

    def test_what_the_kernel_killed_is_told_once(self, group):
        assert not group.killed()
        (group.folder / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
        assert group.killed()
        assert not group.killed()

    def test_one_that_cannot_be_had(self, tmp_path):
        with pytest.raises(OSError, match=r"memory\.peak"):
            Group(tmp_path, 9)
