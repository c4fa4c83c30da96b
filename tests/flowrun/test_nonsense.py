"""Nonsense in what people write, of devices, needs, teams or jobs, ends in diagnostics, not in tracebacks."""

import itertools
import json

import pytest
from graphs import Run, host, plan
from hypothesis import given, settings
from hypothesis import strategies as st

from flowc.plan import codec, hosts_file
from flowc.plan.diagnostics import Refused
from flowc.plan.model import Resources
from flowrun.core.pool import can_ever_fit
from flowrun.core.sharing.admission import admitted
from flowrun.core.sharing.teams import Queue, Sharing, Team
from flowrun.shell import teams
from flowrun.shell.simulating import replaying

# Numbers as TOML or JSON may write them, none of which is a sensible amount of anything.
NUMBERS = [
    "-1",
    "-0.5",
    "nan",
    "-nan",
    "inf",
    "-inf",
    "1e400",
    "9" * 30,
    "-" + "9" * 30,
    "0x_",
    "1_",
    "1e-400",
]
VALUES = [*NUMBERS, '""', '"4"', '"-4"', "true", "[]", "[1, 2]", "{}", "{ a = 1 }", "1979-05-27", '"\\u0000"']


def refused(call, *args):
    """The codes of the diagnostics in which a call ends; none if it does not. All else is our mistake."""
    try:
        call(*args)
    except Refused as refusal:
        for diagnostic in refusal.diagnostics:
            assert diagnostic.message
            assert "Traceback" not in diagnostic.message
        return {diagnostic.code for diagnostic in refusal.diagnostics}
    return set()


class TestDevices:
    KEYS = ("cpus", "memory_mb")

    @pytest.mark.parametrize("value", VALUES)
    @pytest.mark.parametrize("key", KEYS)
    def test_a_value_that_is_no_amount(self, key, value, tmp_path):
        others = "\n".join(f"{other} = 4" for other in self.KEYS if other != key)
        assert self.read(tmp_path, f"{key} = {value}\n{others}") or value in ("1e-400",)

    @pytest.mark.parametrize("value", VALUES)
    @pytest.mark.parametrize("key", ["count", "memory_mb", "name", "link"])
    def test_gpus_that_are_none(self, key, value, tmp_path):
        self.read(tmp_path, f"cpus = 4\nmemory_mb = 4\n[[gpus]]\n{key} = {value}\n")

    @pytest.mark.parametrize("count", ["-1", "0", "1000000000", "9" * 30, "nan"])
    def test_a_number_of_gpus_that_nobody_has(self, count, tmp_path):
        assert self.read(tmp_path, f"cpus = 4\nmemory_mb = 4\n[[gpus]]\ncount = {count}\nmemory_mb = 80000\n")

    @pytest.mark.parametrize(
        "text",
        [
            *(
                "8x",
                "xH100",
                "-8xH100",
                "0xH100",
                "9e9xH100",
                "H100-",
                "H100--80GB",
                ",",
                ",,",
                ":",
                "x",
                "x x",
            ),
            *("nan cores", "inf cores", "-4 cores", "0 cores", "1e400 cores", "1000000000000 cores"),
            *("1000000000 hosts: 4 cores", "-1 hosts: 4 cores", "0 hosts: 4 cores", "hosts: 4 cores"),
            *("4 cores, -1 GiB", "4 cores, nan GiB", "4 cores, 1e300 TiB", "4 cores, 1 XiB", "8x8x8xH100"),
            *(
                "\x00",
                "4 cores\x00",
                "４ cores",
                "4 cores" * 1000,
                "9" * 5000 + " cores",
                "((((",
                "4 cores, 4 cores",
            ),
        ],
    )
    def test_a_line_that_describes_nothing(self, text):
        refused(hosts_file.read, text)

    @given(st.text(max_size=60))
    def test_any_line(self, text):
        refused(hosts_file.read, text)

    @given(st.text(alphabet="0123456789xH-.,: GBTiMhostcre=+/_", max_size=50))
    def test_any_line_that_looks_like_one(self, text):
        refused(hosts_file.read, text)

    @given(st.binary(max_size=80))
    def test_any_file(self, tmp_path_factory, data):
        path = tmp_path_factory.mktemp("devices") / "host.toml"
        path.write_bytes(data)
        refused(hosts_file.read, str(path))

    @staticmethod
    def read(folder, text):
        path = folder / "host.toml"
        path.write_text(text, encoding="utf-8")
        return refused(hosts_file.read, str(path))


class TestNeeds:
    """What a plan says that a node needs, written by hand or by another program."""

    @pytest.mark.parametrize("key", Resources.__struct_fields__)
    @pytest.mark.parametrize(
        "value",
        ["-1", "NaN", "Infinity", "-Infinity", "1e400", "9" * 30, '"4"', "null", "[]", "{}", "1.5", "[[]]"],
    )
    def test_an_amount_that_is_none(self, key, value):
        rows = codec.encode(plan("a cpus=7")).decode().splitlines()
        at = next(i for i, row in enumerate(rows) if '"needs"' in row)
        assert '{"cpus":7' in rows[at]
        rows[at] = rows[at].replace('"needs":{"cpus":7}', f'"needs":{{"{key}":{value}}}')
        assert f'"{key}":{value}' in rows[at]
        allowed = {("cpus", "1.5"), ("cpus", "9" * 30), ("gpu_models", "[]"), ("uses", "[]")}
        assert (
            refused(codec.decode, "\n".join(rows).encode() + b"\n", "main.plan.jsonl")
            or (key, value) in allowed
        )

    @pytest.mark.parametrize(
        ("needs", "dimension"),
        [
            (Resources(cpus=1e9), "cpus"),
            (Resources(memory_mb=2**63 - 1), "memory"),
            (Resources(gpus=9), "gpus"),
            (Resources(gpus=2**63 - 1, hosts_max=2**63 - 1), "gpus"),
            (Resources(gpus=1, gpu_memory_mb=2**63 - 1), "gpu memory"),
            (Resources(gpus=1, gpu_models=("no such",)), "gpu model"),
            (Resources(gpus=8, linked=True), "linked gpus"),
            (Resources(uses=(("licence", 1),)), "licence"),
        ],
    )
    def test_more_than_there_is_has_a_reason(self, needs, dimension):
        small = host(cpus=4, memory=1000, gpus=[8000] * 8)
        rejected = can_ever_fit(needs, small)
        assert rejected is not None
        assert rejected.dimension == dimension
        assert str(rejected)

    @pytest.mark.parametrize(
        "settings", ["cpus=1e308", "gpus=9", "gpus=9 hosts_max=9", "uses=licence:9", "memory=999999"]
    )
    def test_it_is_given_up_by_the_core_too(self, settings):
        run = Run(f"a {settings}\nb < a\nc", on=host(cpus=4, gpus=[8000] * 8))
        assert run.opened == ["fail a", "block b by a", "start c.1"]
        assert run.done("c") == ["finish failed"]
        assert run["a"].failure.code == "FR210"


class TestTeams:
    KEYS = (
        *(
            "teams",
            "teams.a",
            "teams.a.weight",
            "teams.a.share",
            "teams.a.quota",
            "teams.a.quota.gpus",
            "teams.a.burst",
        ),
        *(
            "teams.a.limit.gpus",
            "teams.a.tier",
            "teams.a.queue",
            "teams.a.parent",
            "tiers.weights",
            "tiers.headroom",
        ),
        *(
            "fairness.weight",
            "fairness.violation",
            "fairness.starvation_s",
            "preemption.enabled",
            "preemption.times",
        ),
        *(
            "preemption.run_at_least_s",
            "preemption.notice_s",
            "queue.limit",
            "queue.of_team",
            "no.such.key",
            '"".x',
        ),
    )

    @pytest.mark.parametrize("key", KEYS)
    def test_a_value_that_makes_no_sense(self, key):
        for value in VALUES:
            self.parse(f"{key} = {value}")

    @pytest.mark.parametrize("value", ["-1", "nan", "inf", "1e400", '"4"'])
    @pytest.mark.parametrize("key", [key for key in KEYS if key.count(".") == 2 and "quota" not in key])
    def test_what_is_no_amount_is_refused(self, key, value):
        if key.endswith((".parent", "violation")) and value == '"4"':
            return
        assert self.parse(f"{key} = {value}")

    @given(st.text(max_size=80))
    def test_any_text(self, text):
        self.parse(text)

    @given(st.lists(st.tuples(st.sampled_from(KEYS), st.sampled_from(VALUES)), max_size=6))
    def test_any_of_its_keys_together(self, pairs):
        self.parse("\n".join(f"{key} = {value}" for key, value in pairs))

    def test_a_team_that_is_part_of_itself(self):
        assert self.parse('teams.a.parent = "b"\nteams.b.parent = "a"')

    def test_a_billion_nodes_in_a_queue(self):
        sharing = Sharing({"a": Team(), "b": Team(queue=10)}, queue=Queue(limit=1000, of_team=100))
        for team in sharing.teams:
            rejected = admitted(sharing, team, 0, 0, more=10**9)
            assert rejected is not None
            assert rejected.need == 10**9

    def parse(self, text):
        return refused(teams.parse, text, "teams.toml", {"cpus": 64, "memory_mb": 1000, "gpus": 8})


class TestTraces:
    HEAD = "submit,team,priority,resources,duration,tier,estimate"
    GOOD = ("0", "a", "0", "gpus=1 cpus=2", "1h", "1", "1h")
    WRONG = (
        *(
            "",
            " ",
            "-1",
            "nan",
            "inf",
            "-inf",
            "1e400",
            "9" * 30,
            "9" * 400,
            "x",
            "1h 1h x",
            "\x00",
            '"',
            "é",
            "1,5",
        ),
        *(
            "gpus=-1",
            "gpus=nan",
            "gpus=1e9",
            "cpus=-1",
            "cpus=inf",
            "memory=-1GB",
            "gpus",
            "=",
            "gpus=1 gpus=2",
            "==",
        ),
        *("gpus=1-", "gpus=4-1", "gpus=1-1000000000", "gpu_memory=1XB", "no_such=1", "cpus=1e308", "uses=1"),
    )

    @pytest.mark.parametrize("at", range(7))
    def test_a_field_that_makes_no_sense(self, at, tmp_path):
        for wrong in self.WRONG:
            self.run(tmp_path, ",".join([*self.GOOD[:at], wrong, *self.GOOD[at + 1 :]]))

    @pytest.mark.parametrize(
        ("at", "wrong"), [*itertools.product((0, 2, 3, 4), ("", "-1", "nan", "x", "1e400"))]
    )
    def test_what_is_no_amount_is_refused(self, at, wrong, tmp_path):
        fine = (at, wrong) in {(2, "-1"), (2, ""), (3, "")}
        assert self.run(tmp_path, ",".join([*self.GOOD[:at], wrong, *self.GOOD[at + 1 :]])) or fine

    @pytest.mark.parametrize(
        "line", ["", ",", "0,a", "0,a,0,gpus=1,1h,1,1h,more,and more", '"', '"\n\n"', "\x00", "x" * 200_000]
    )
    def test_a_line_that_is_no_job(self, line, tmp_path):
        assert self.run(tmp_path, line)

    @pytest.mark.parametrize(
        "head",
        [
            "",
            "submit",
            "submit,submit,team,priority,resources,duration",
            "\ufeff",
            "\x00",
            '"',
            "x" * 200_000,
        ],
    )
    def test_a_header_that_is_none(self, head, tmp_path):
        assert self.run(tmp_path, ",".join(self.GOOD), head)

    @pytest.mark.parametrize(
        "resources", ["gpus=9", "cpus=65", "memory=2TB", "gpus=1000000", "gpus=1 gpu_memory=81GB"]
    )
    def test_a_job_larger_than_the_hosts(self, resources, tmp_path):
        assert self.run(tmp_path, ",".join([*self.GOOD[:3], resources, *self.GOOD[4:]]))

    @given(st.lists(st.sampled_from([*WRONG, *GOOD]), min_size=5, max_size=8))
    @settings(max_examples=200)
    def test_any_fields(self, tmp_path_factory, fields):
        self.run(tmp_path_factory.mktemp("trace"), ",".join(fields))

    @given(st.binary(max_size=60))
    def test_any_bytes(self, tmp_path_factory, data):
        path = tmp_path_factory.mktemp("trace") / "jobs.csv"
        path.write_bytes(self.HEAD.encode() + b"\n" + data)
        refused(replaying.run, path, "8xH100-80GB, 64 cores, 1 TiB", None)

    def run(self, folder, line, head=HEAD):
        path = folder / "jobs.csv"
        path.write_text(f"{head}\n{line}\n", encoding="utf-8")
        return refused(replaying.run, path, "8xH100-80GB, 64 cores, 1 TiB", None)


def test_the_numbers_above_are_what_they_say():
    assert json.loads("[NaN, Infinity, 1e400]")[2] == float("inf")
