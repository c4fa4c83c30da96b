"""Resources, retries and limits as people write them."""

import math

import pytest

from flowc.declaration import Declaration, Impossible, declare
from flowc.plan.model import Estimate, Resources


def test_nothing_declared_is_the_defaults():
    assert declare() == Declaration()


@pytest.mark.parametrize(
    ("written", "needs"),
    [
        ({"cpus": 2}, Resources(2)),
        ({"cpus": 2.0}, Resources(2)),
        ({"cpus": 0.5}, Resources(0.5)),
        ({"cpus": 0}, Resources(0)),
        ({"memory": 100}, Resources(memory_mb=100)),
        ({"memory": "100"}, Resources(memory_mb=100)),
        ({"memory": "2GB"}, Resources(memory_mb=2048)),
        ({"memory": " 1.5 gib "}, Resources(memory_mb=1536)),
        ({"memory": "0.5MB"}, Resources(memory_mb=1)),
        ({"memory": "1tb"}, Resources(memory_mb=1024 * 1024)),
        ({"gpus": 1, "gpu_memory": "8GB"}, Resources(gpus=1, gpu_memory_mb=8192)),
        ({"gpu_memory": "8GB"}, Resources(gpus=1, gpu_memory_mb=8192)),
        ({"gpus": "2"}, Resources(gpus=2)),
        ({"gpus": "1-4"}, Resources(gpus=1, gpus_max=4)),
        ({"gpus": " 2 - 2 "}, Resources(gpus=2)),
        ({"gpu": "H100"}, Resources(gpus=1, gpu_models=("H100",))),
        ({"gpus": 2, "gpu": ["H100", "A100", "H100"]}, Resources(gpus=2, gpu_models=("A100", "H100"))),
        ({"gpus": "1-4", "linked": True}, Resources(gpus=1, gpus_max=4, linked=True)),
        ({"uses": {"licence": 1, "db": 3}}, Resources(uses=(("db", 3), ("licence", 1)))),
    ],
)
def test_resources(written, needs):
    found = declare(**written).needs
    assert found == needs
    assert type(found.cpus) is type(needs.cpus)
    assert type(found.gpus) is int


@pytest.mark.parametrize(
    ("written", "ms"),
    [
        (5, 5000),
        (0.25, 250),
        ("5", 5000),
        ("250ms", 250),
        ("1.5 s", 1500),
        ("2m", 120_000),
        ("2 min", 120_000),
        ("1h", 3_600_000),
    ],
)
def test_times(written, ms):
    assert declare(timeout=written).timeout_ms == ms
    assert declare(backoff=written).backoff_ms == ms


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("cpus", -1),
        ("cpus", math.inf),
        ("cpus", math.nan),
        ("cpus", "two"),
        ("cpus", True),
        ("gpus", -1),
        ("gpus", 0.5),
        ("gpus", "4-1"),
        ("gpus", "0-2"),
        ("gpu", 100),
        ("gpu", ["H100", 1]),
        ("gpu", "-"),
        ("linked", "yes"),
        ("linked", True),  # of no GPU
        ("uses", ["licence"]),
        ("uses", {"licence": 0}),
        ("uses", {"licence": -1}),
        ("uses", {"licence": 0.5}),
        ("uses", {"licence": True}),
        ("uses", {"": 1}),
        ("uses", {1: 1}),
        ("priority", 1.5),
        ("priority", 1001),
        ("cache", 1),
        ("deterministic", None),
        ("secrets", "HF_TOKEN"),
        ("secrets", ["sk-not a name"]),
        ("env", [1]),
        ("gpus", True),
        ("memory", "lots"),
        ("memory", "2 apples"),
        ("memory", -5),
        ("memory", ""),
        ("memory", None),
        ("memory", "5s"),
        ("memory", math.inf),
        ("retries", -1),
        ("retries", 101),
        ("retries", 1.5),
        ("retries", True),
        ("timeout", "soon"),
        ("timeout", "1GB"),
        ("backoff", -1),
        ("backoff", "1e400"),
        ("heartbeat", "soon"),
        ("heartbeat", 0.5),  # less than a loop's turn
        ("heartbeat", -1),
        ("isolation", "forked"),
        ("isolation", None),
        ("isolation", ["warm"]),
        ("retry_on", "lost"),  # what is not the operator's fault is always tried again
        ("retry_on", ["crash", 1]),
        ("retry_on", None),
        ("retry_on", {"crash": 1}),
        ("estimate", "soon"),
        ("fold", True),  # of no operator that is not deterministic
        ("fold", 1),
    ],
)
def test_what_makes_no_sense(name, value):
    with pytest.raises(Impossible) as impossible:
        declare(**{name: value})
    assert impossible.value.name == name
    assert f"`{name}`" in str(impossible.value)


def test_failures_processes_and_signs_of_life():
    found = declare(retry_on={"timeout", "crash"}, heartbeat="2m", isolation="fork")
    assert (found.retry_on, found.heartbeat_ms, found.isolation) == (("crash", "timeout"), 120_000, "fork")
    assert declare(retry_on="memory").retry_on == ("memory",)
    assert declare(retry_on=["hang", "hang"]).retry_on == ("hang",)
    assert declare(heartbeat=1).heartbeat_ms == 1000


def test_a_sign_of_life_is_due_before_the_time_limit():
    assert declare(heartbeat=9, timeout=10).heartbeat_ms == 9000
    with pytest.raises(Impossible, match="less than the `timeout` of 10s, which ends it first") as impossible:
        declare(heartbeat=10, timeout="10s")
    assert impossible.value.name == "heartbeat"


def test_an_unknown_name_is_pythons_own_complaint():
    with pytest.raises(TypeError):
        declare(cpu=1)


def test_an_estimate_is_in_milliseconds_and_fits_the_time_limit():
    assert declare(estimate="30s").estimate == Estimate(30_000, "declared")
    assert declare(estimate=1.5, timeout="1500ms").estimate.ms == 1500
    assert declare().estimate == Estimate()
    with pytest.raises(Impossible, match="at most the `timeout`") as impossible:
        declare(estimate="2m", timeout="1m")
    assert impossible.value.name == "estimate"


def test_folding_goes_with_being_deterministic():
    assert declare(deterministic=True, fold=True).fold
    with pytest.raises(Impossible, match="`fold` must be left out where"):
        declare(deterministic=True, fold=True, env=["HOME"])
