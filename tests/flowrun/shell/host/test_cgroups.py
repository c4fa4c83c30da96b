"""Control groups as a folder that pretends; and the real ones, where this machine delegates some."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from flowrun.shell.host import cgroups
from flowrun.shell.host.cgroups import Confined, Files, Groups, delegated, peak_mb, was_killed

MB = 1024 * 1024


def family():
    return (7, 8, 9)


@pytest.fixture(autouse=True)
def no_systemd(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroups, "_SYSTEMD", tmp_path / "no-systemd")


@pytest.fixture
def folder(tmp_path):
    """The group of processes 7 and 8."""
    folder = tmp_path / "mount" / "user" / "scope"
    folder.mkdir(parents=True)
    for name, text in (
        ("cgroup.controllers", "cpu memory pids\n"),
        ("cgroup.procs", "7\n8\n"),
        ("cgroup.subtree_control", ""),
    ):
        (folder / name).write_text(text)
    (tmp_path / "own").write_text("1:cpu:/old\n0::/user/scope\n")
    return folder


@pytest.fixture
def files(tmp_path, folder):
    return Files(tmp_path / "mount", tmp_path / "own")


class TestDelegated:
    def test_a_group_with_nobody_else_in_it(self, folder, files):
        assert delegated(family, files) == folder
        assert not (folder / "flowrun").exists()  # to look changes nothing

    def test_others_are_in_it(self, files):
        assert delegated(lambda: [7], files) is None

    def test_one_is_born_just_then(self, folder, files):
        """A worker that was forked ahead is in the group, and was not yet seen below its zygote."""
        seen = [[7], [7, 8]]
        assert delegated(lambda: seen.pop(0), files) == folder

    @pytest.mark.parametrize("text", ["cpu pids\n", None])
    def test_memory_is_not_handed_out(self, folder, files, text):
        file = folder / "cgroup.controllers"
        file.write_text(text) if text else file.unlink()
        assert delegated(family, files) is None

    @pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
    @pytest.mark.parametrize("name", ["cgroup.subtree_control", "cgroup.procs"])
    def test_it_is_not_ours_to_write_to(self, folder, files, name):
        (folder / name).chmod(0o444)
        assert delegated(family, files) is None

    @pytest.mark.skipif(os.geteuid() != 0, reason="others cannot write to what is not theirs")
    @pytest.mark.parametrize(("said", "is_ours"), [(b"1", True), (b"0", False), (None, False)])
    def test_root_takes_nothing_from_systemd_that_was_not_handed_over(
        self, tmp_path, monkeypatch, folder, files, said, is_ours
    ):
        def getxattr(path, name):
            assert (path, name) == (folder, "trusted.delegate")
            if said is None:
                raise OSError
            return said

        monkeypatch.setattr(cgroups, "_SYSTEMD", tmp_path)
        monkeypatch.setattr("os.getxattr", getxattr)
        assert (delegated(family, files) == folder) is is_ours

    @pytest.mark.parametrize("own", ["4:memory:/old\n", "", "0::/not/there\n"])
    def test_version_1_or_none(self, tmp_path, files, own):
        files.own.write_text(own)
        assert delegated(family, files) is None
        assert delegated(family, Files(tmp_path / "missing", tmp_path / "missing")) is None


class Kernel:
    """Does to a folder that pretends what the kernel does to a group: who is moved is not where it was."""

    def __init__(self, folder, monkeypatch):
        self.where = dict.fromkeys((7, 8), folder)
        self.home = folder / "flowrun"
        monkeypatch.setattr(cgroups, "_members", self.members)
        write = type(folder).write_text

        def write_text(path, text):
            if path.name == "cgroup.procs":
                self.where[int(text)] = path.parent
                return len(text)
            return write(path, text)

        monkeypatch.setattr("pathlib.Path.write_text", write_text)

    def members(self, folder):
        return [pid for pid, where in self.where.items() if where == folder]


@pytest.fixture
def kernel(folder, monkeypatch):
    return Kernel(folder, monkeypatch)


@pytest.fixture
def groups(files, kernel):
    return Groups(family, files)


def emptied(group):
    """As the kernel sees a group: its files are no reason against removing it."""
    for file in os.scandir(group):
        os.unlink(file)
    return group


class TestGroups:
    def test_nobody_moves_before_there_is_one(self, folder, kernel, groups):
        groups.rest()
        assert kernel.where == {7: folder, 8: folder}
        assert os.listdir(folder / "..") == ["scope"]

    def test_processes_are_in_leaves_only(self, folder, kernel, groups):
        first, second = groups.make(), groups.make()
        assert kernel.where == {7: folder / "flowrun", 8: folder / "flowrun"}
        assert (folder / "cgroup.subtree_control").read_text() == "+memory"
        assert first == f"{folder}/flowrun-{os.getpid()}-0" != second
        assert (folder / first / "memory.oom.group").read_text() == "1"

    def test_where_there_can_be_none_that_is_found_out_once(self, files, kernel):
        asked = []
        groups = Groups(lambda: asked.append(1) or [7], files)
        assert groups.make() == ""
        assert asked
        asked.clear()
        assert groups.make() == ""
        assert not asked

    def test_somebody_comes_in_meanwhile(self, folder, monkeypatch, groups):
        (folder / "cgroup.subtree_control").unlink()
        (folder / "cgroup.subtree_control").mkdir()  # what cannot be written
        assert groups.make() == ""

    def test_at_the_end_all_is_as_it_was_found(self, folder, kernel, groups):
        made = [groups.make(), groups.make()]
        before = {*os.listdir(folder)} - {"flowrun", *map(os.path.basename, made)}
        groups.remove(emptied(made[0]))
        groups.rest()
        assert kernel.where[7] == kernel.home  # one is still there
        groups.remove(emptied(made[1]))
        groups.rest()
        assert {*os.listdir(folder)} == before
        assert kernel.where == {7: folder, 8: folder}
        assert (folder / "cgroup.subtree_control").read_text() == "-memory"
        assert groups.make()  # and again

    def test_what_one_who_was_killed_left_is_removed(self, folder, groups):
        with subprocess.Popen([sys.executable, "-c", ""]) as gone:
            pass
        left, of_another = folder / f"flowrun-{gone.pid}-3", folder / f"flowrun-{os.getppid()}-0"
        for path in (left, of_another, folder / "another"):
            path.mkdir()
        groups.make()
        assert not left.exists()
        assert of_another.exists()
        assert (folder / "another").exists()


class TestConfined:
    @pytest.fixture
    def group(self, tmp_path):
        return str(tmp_path)

    def said(self, group, name):
        return Path(group, name).read_text()

    def limit_mb(self, group):
        return int(self.said(group, "memory.max")) / MB

    def test_joins_and_has_a_limit(self, group):
        Confined().to(group, 1000, 0)
        assert self.said(group, "cgroup.procs") == "0"
        assert 1164 <= self.limit_mb(group) < 1164 + 16  # what is tolerated, and then rounded up

    def test_what_it_holds_already_does_not_count(self, group):
        Confined().to(group, 1000, 500)
        assert 1664 <= self.limit_mb(group) < 1664 + 16

    def test_without_a_request_there_is_none(self, group):
        confined = Confined()
        confined.to(group, 100, 0)
        confined.to(group, 0, 50)
        assert self.said(group, "memory.max") == "max"

    def test_what_is_so_already_is_not_written(self, group):
        confined = Confined()
        confined.to(group, 100, 0)
        os.unlink(f"{group}/memory.max")
        os.unlink(f"{group}/cgroup.procs")
        confined.to(group, 100, 1)
        assert os.listdir(group) == []

    def test_where_the_kernel_refuses_the_node_runs_all_the_same(self, group):
        Confined().to(f"{group}/missing", 100, 0)


class TestWhatTheKernelTells:
    def test_who_was_killed(self, tmp_path):
        assert not was_killed(str(tmp_path))
        (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 0\noom_group_kill 0\n")
        assert not was_killed(str(tmp_path))
        (tmp_path / "memory.events").write_text("low 0\noom 1\noom_kill 2\noom_group_kill 1\n")
        assert was_killed(str(tmp_path))

    def test_the_peak(self, tmp_path):
        assert peak_mb(str(tmp_path)) == 0
        (tmp_path / "memory.peak").write_text(f"{300 * MB}\n")
        assert peak_mb(str(tmp_path)) == 300
