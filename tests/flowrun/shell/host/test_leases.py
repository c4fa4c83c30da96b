"""What processes on one host hold: taken by one at a time, and free when the holder is gone."""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec
import pytest
from graphs import host

from flowc.plan.diagnostics import Refused
from flowrun.core.changes import Outsider
from flowrun.core.model import Placement
from flowrun.shell.host.leases import Leases

HOST = host(4, 1000, [100, 100])
ALL = Placement(1, memory_mb=1000)
HALF = Placement(1, memory_mb=500)
MORE = Placement(1, memory_mb=501)
WHOLE = Placement(1, gpus=(0,))
THIRD = Placement(1, gpus=(0,), gpu_memory_mb=33)

# Another process: takes what it is told to, says what came of it, and holds it until it is ended.
OTHER = """
import os, sys
from pathlib import Path
import msgspec
from flowrun.core.model import Capacity, Placement
from flowrun.shell.host.leases import Leases
if len(sys.argv) > 3:
    os.setgroups([]), os.setgid(int(sys.argv[3])), os.setuid(int(sys.argv[3]))
capacity = msgspec.json.decode(sys.argv[2], type=Capacity)
leases = Leases(capacity, folder=Path(sys.argv[1]))
for line in sys.stdin:
    print(int(leases.take(line, msgspec.json.decode(line, type=Placement))), flush=True)
"""


class Other:
    def __init__(self, folder, *user):
        words = [sys.executable, "-c", OTHER, str(folder), msgspec.json.encode(HOST).decode(), *user]
        self.process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def take(self, placement):
        self.process.stdin.write(msgspec.json.encode(placement).decode() + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline() == "1\n"

    def end(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait()


@pytest.fixture
def leases(tmp_path):
    return Leases(HOST, folder=tmp_path)


@pytest.fixture
def other(tmp_path):
    other = Other(tmp_path)
    yield other
    other.end()


def test_no_more_than_there_is(leases, other):
    assert other.take(HALF)
    assert not leases.take("a", MORE)
    assert leases.take("a", HALF)
    assert not other.take(Placement(1, memory_mb=1))


def test_all_or_none(leases, other):
    assert other.take(WHOLE)
    assert not leases.take("both", Placement(1, memory_mb=1000, gpus=(0,)))
    assert leases.take("memory", ALL)  # what had been taken was given back


def test_a_gpu_whole_or_in_parts(leases, other):
    assert other.take(THIRD)
    assert not leases.take("whole", WHOLE)
    assert leases.take("a", THIRD)
    assert leases.take("b", THIRD)
    assert not leases.take("c", THIRD)
    assert leases.take("other gpu", Placement(1, gpus=(1,)))


def test_what_is_free_need_not_be_in_one_piece(leases, other):
    quarter = Placement(1, memory_mb=250)
    for key in "abcd":
        assert leases.take(key, quarter)
    leases.give_back("a")
    leases.give_back("c")
    assert other.take(HALF)
    leases.give_back("b")
    leases.give_back("d")
    assert not leases.take("all", MORE)
    assert leases.take("half", HALF)


def test_nothing_is_asked_for_nothing(leases):
    assert leases.take("a", Placement(4))
    leases.give_back("a")
    leases.give_back("never taken")


def test_the_kernel_takes_back_what_the_dead_held(leases, other):
    assert other.take(ALL)
    assert not leases.take("a", HALF)
    other.end()
    assert leases.take("a", ALL)


def test_who_holds_what(leases, other):
    assert leases.others() == ()
    assert leases.take("mine", HALF)
    for placement in (Placement(1, memory_mb=300), THIRD, Placement(1, gpus=(1,))):
        assert other.take(placement)
    by = f"another flowrun (process {other.process.pid} of {_me()})"
    assert leases.others() == (
        Outsider(by, Placement(0, memory_mb=300)),
        Outsider(by, Placement(0, gpus=(0,), gpu_memory_mb=33)),
        Outsider(by, Placement(0, gpus=(1,))),
    )


def _me():
    import pwd

    return pwd.getpwuid(os.getuid()).pw_name


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
@pytest.mark.parametrize("is_first", [True, False])
def test_processes_of_other_users(is_first):
    with tempfile.TemporaryDirectory() as name:  # pytest's own is for its user only
        folder = Path(name)
        folder.chmod(0o1777)
        mine = None if is_first else Leases(HOST, folder=folder)
        other = Other(folder, "65534")
        assert other.take(WHOLE)
        mine = mine or Leases(HOST, folder=folder)
        assert not mine.take("a", WHOLE)
        assert mine.take("a", MORE)
        assert not other.take(HALF)
        other.end()
        assert mine.take("b", WHOLE)


def test_hosts_that_are_pretended_are_no_matter_to_this_one(tmp_path):
    real, pretended = Leases(HOST, folder=tmp_path), Leases(HOST, pretended=True, folder=tmp_path)
    same = Leases(HOST, pretended=True, folder=tmp_path)
    assert real.take("a", ALL)
    assert pretended.take("a", ALL)
    assert not same.take("a", HALF)


def test_the_file_is_everybodys(leases):
    assert leases.path.stat().st_mode & 0o777 == 0o666


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to("/etc/passwd")])
def test_what_is_no_file_of_ours_is_refused(tmp_path, make):
    make(tmp_path / "flow.leases")
    with pytest.raises(Refused) as refused:
        Leases(HOST, folder=tmp_path)
    assert [diagnostic.code for diagnostic in refused.value.diagnostics] == ["FR150"]


# Takes and gives back at random, and says of each GPU when it began and ended to have it, in a file that all
# write to. Some are killed meanwhile.
RACER = """
import os, random, sys
from pathlib import Path
import msgspec
from flowrun.core.model import Capacity, Placement
from flowrun.shell.host.leases import Leases
folder, seed = Path(sys.argv[1]), int(sys.argv[2])
leases = Leases(msgspec.json.decode(sys.argv[3], type=Capacity), folder=folder)
rng = random.Random(seed)
said = os.open(folder / "said", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def say(what, gpu):
    os.write(said, f"{what} {os.getpid()} {gpu}\\n".encode())
print("ready", flush=True)
for turn in range(300):
    gpu = rng.randrange(2)
    if leases.take("x", Placement(1, memory_mb=400, gpus=(gpu,))):
        say("has", gpu)
        say("ends", gpu)
        leases.give_back("x")
"""


def test_hundreds_of_races_and_kills(tmp_path):
    host_given = msgspec.json.encode(HOST).decode()
    rng = random.Random(1)
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACER, str(tmp_path), str(seed), host_given], stdout=subprocess.PIPE
        )
        for seed in range(6)
    ]
    for racer in racers:
        racer.stdout.readline()
    for racer in racers[:3]:
        time.sleep(rng.uniform(0, 0.02))
        racer.kill()
    for racer in racers:
        racer.wait()
    holders, dead, taken = {}, {racer.pid for racer in racers[:3]}, 0
    for line in (tmp_path / "said").read_text().splitlines():
        what, pid, gpu = line.split()
        if what == "has":
            taken += 1
            before = holders.get(gpu)
            assert before is None or int(before) in dead, f"{pid} has GPU {gpu} while {before} holds it"
            holders[gpu] = pid
        else:
            assert holders.pop(gpu) == pid
    assert taken > 100
    assert Leases(HOST, folder=tmp_path).others() == ()


def test_a_cpu_is_for_the_nodes_of_one_process(leases, tmp_path):
    other = Leases(HOST, folder=tmp_path)
    assert leases.take_cpu(0)
    assert leases.take_cpu(0)
    assert not other.take_cpu(0)
    assert other.take_cpu(1)
    assert other.others() == ()  # nobody has to wait for it
    leases.close()
    assert other.take_cpu(0)
    other.close()
