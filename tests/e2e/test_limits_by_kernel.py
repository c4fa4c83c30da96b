"""Memory that the kernel holds nodes to, where groups can be made: by root, with control groups v2."""

import contextlib
import os
import subprocess
from pathlib import Path

import psutil
import pytest
from project import BIN, Project, is_gone

MOUNT = Path("/sys/fs/cgroup")
FLOW = """
import time

@operator(memory="30MB")
def eat(megabytes: int) -> int:
    note("eat")
    return len([b"x" * (1 << 20) for _ in range(megabytes)])

@operator(memory="30MB")
def feed(megabytes: int) -> int:
    note("feed")
    if os.fork() == 0:
        held = [b"x" * (1 << 20) for _ in range(megabytes)]
        os._exit(0)
    os.wait()
    return megabytes

@operator(memory="30MB")
def where() -> str:
    return open("/proc/self/cgroup").read().strip()

@operator(memory="30MB")
def wait() -> int:
    tell("waits")
    signal.pause()
    return 1

"""


@pytest.fixture
def scope():
    """A group that is ours, as `systemd-run --scope -p Delegate=yes` makes one."""
    folder = MOUNT / f"flowrun-test-{os.getpid()}"
    try:
        if "memory" not in (MOUNT / "cgroup.subtree_control").read_text().split():
            pytest.skip("memory is not handed out below /sys/fs/cgroup")
        folder.mkdir()
        os.setxattr(folder, "trusted.delegate", b"1")
    except OSError as error:
        pytest.skip(f"no control group can be made: {error}")
    yield folder
    with contextlib.suppress(OSError):
        (folder / "cgroup.subtree_control").write_text("-memory")
    for path in (*folder.glob("flowrun*"), folder):
        path.rmdir()


@pytest.fixture
def project(tmp_path):
    def make(call):
        return Project(tmp_path, f"{FLOW}@workflow\ndef main():\n    return {call}\n")

    return make


def started(project, scope):
    enter = f'echo $$ > {scope}/cgroup.procs && exec "$@"'
    return subprocess.Popen(
        ["sh", "-c", enter, "sh", BIN / "flowrun", "execute", project.plan],
        cwd=project.folder,
        stdout=subprocess.PIPE,
        text=True,
    )


def groups(scope):
    return sorted(path.name for path in scope.iterdir() if path.is_dir())


@pytest.mark.parametrize("op", ["eat", "feed"])
def test_who_takes_too_much_is_killed_whole_and_has_more_the_next_time(project, scope, op):
    made = project(f"{op}(300)")
    with started(made, scope) as run:
        out = run.stdout.read()
    assert run.returncode == 0, out
    assert "the kernel killed its process: memory ran out; it had asked for 30 MB" in out
    (node,) = made.json("show", "main-1")["nodes"]
    assert (node["state"], node["attempt"]) == ("succeeded", made.ran()[op])
    assert node["attempt"] > 1
    assert groups(scope) == []
    assert (scope / "cgroup.subtree_control").read_text().split() == []


def test_each_worker_has_a_group_of_its_own(project, scope):
    made = project("where()")
    with started(made, scope) as run:
        run.stdout.read()
    found = made.json("show", "main-1")["result"]
    assert found.startswith(f"0::/{scope.name}/flowrun-")


def test_what_a_kill_leaves_are_empty_folders(project, scope):
    """They go with the scope, or when somebody makes groups in it again."""
    made = project("wait()")
    with started(made, scope) as run:
        assert made.told() == "waits"
        family = psutil.Process(run.pid).children(recursive=True)
        run.kill()
    assert all(is_gone(process.pid) for process in family)
    left = groups(scope)
    assert len(left) == 2
    (scope / "cgroup.subtree_control").write_text("-memory")  # as long as it hands out, nobody may come in
    made.write(FLOW + "@workflow\ndef main():\n    return where()\n")
    made.compile()
    with started(made, scope) as run:
        run.stdout.read()
    assert groups(scope) == []
