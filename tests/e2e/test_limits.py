"""What a node may take, held to by real processes: memory, silence, CPUs, GPUs."""

import os

import pytest
from project import Project

FLOW = """
import time
from flowc import beat

@operator(memory="30MB")
def hold(megabytes: int) -> int:
    note("hold")
    held = b"x" * (megabytes << 20)
    time.sleep(3)
    return len(held) >> 20

@operator(memory="30MB")
def hold_together(megabytes: int) -> int:
    note("hold_together")
    children = [os.fork() for _ in range(2)]
    held = b"x" * (megabytes << 20)
    time.sleep(3)
    if 0 in children:
        os._exit(0)
    for child in children:
        os.waitpid(child, 0)
    return len(held) >> 20

@operator(heartbeat=1, retry_on="crash")
def work(seconds: float, speaks: str) -> str:
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        time.sleep(0.05)
        beat() if speaks == "beats" else print("on and on", flush=True) if speaks == "prints" else None
    return speaks

def here():
    told = os.environ.get("CUDA_VISIBLE_DEVICES"), os.environ["OMP_NUM_THREADS"]
    return [sorted(os.sched_getaffinity(0)), *told]

@operator
def one() -> list:
    return here()

@operator(cpus=0.5)
def half() -> list:
    return here()

@operator(gpus=2)
def train() -> list:
    return here()

"""


@pytest.fixture
def project(tmp_path):
    def make(call):
        return Project(tmp_path, f"{FLOW}@workflow\ndef main():\n    return {call}\n")

    return make


def nodes(project):
    return {node["node"]: node for node in project.json("show", "main-1")["nodes"]}


def test_what_takes_too_much_memory_is_ended_and_has_more_the_next_time(project):
    made = project("hold(150)")
    assert "had asked for 30 MB" in made.execute().stdout
    node = nodes(made)["hold"]
    assert (node["state"], node["attempt"], made.ran()["hold"]) == ("succeeded", 2, 2)
    assert 150 <= node["usage"]["peak_mb"] < 220


def test_what_its_processes_take_counts_together(project):
    made = project("hold_together(60)")
    made.execute()
    node = nodes(made)["hold_together"]
    assert (node["state"], node["attempt"]) == ("succeeded", 2)
    assert 180 <= node["usage"]["peak_mb"] < 320


@pytest.mark.parametrize("speaks", ["beats", "prints"])
def test_signs_of_life(project, speaks):
    made = project(f"work(2.0, {speaks!r})")
    made.execute()
    assert nodes(made)["work"]["attempt"] == 1


def test_silence(project):
    made = project("work(60.0, 'sulks')")
    assert "error[FR215]" in made.execute(status=1).stderr


def test_cpus_and_gpus_of_its_own(project):
    made = project("one(), half(), train()")
    made.execute("--devices", "3xH100-80GB, 1 cores, 8 GiB")
    ours = sorted(os.sched_getaffinity(0))
    found = made.json("show", "main-1")["result"]
    for cpus, _, threads in found:
        assert set(cpus) <= set(ours)
        assert (len(cpus), threads) == (1, "1")
    assert [gpus for _, gpus, _ in found] == ["", "", "0,1"]


def test_a_host_that_is_not_there_holds_nobody_to_its_cpus(project):
    made = project("one()")
    made.execute("--devices", "512 cores, 8 GiB")
    assert made.json("show", "main-1")["result"][0] == sorted(os.sched_getaffinity(0))


def test_the_command_that_tells_what_there_is(project):
    made = project("one()")
    found = made.json("devices", "--devices", "2xH100-80GB, 4 cores, 6 GiB")
    assert (found["cpus"], found["memory_mb"], len(found["gpus"])) == (4, 6144, 2)
    assert found["control_group"] == ""  # the tests' process is in it, too, if there is one
    first, second = made.flowrun("devices", "--devices", "2xH100-80GB, 4 cores, 6 GiB").stdout.splitlines()
    assert first == "4 CPUs, 6.0 GB, 2 x H100"
    assert second.startswith("memory is watched")
