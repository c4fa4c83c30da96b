"""`flowrun simulate`, from a plan file to its text."""

import graphs
import msgspec
import pytest

from flowc.plan import codec
from flowc.plan.diagnostics import Refused
from flowc.plan.history import Module, Record, Runner, encode
from flowc.plan.model import Estimate
from flowrun.shell.simulating import forecast
from flowrun.shell.simulating.simulate import Request, run

GRAPH = """
load
fit[a] < load  cpus=1 reads=rate
fit[b] < load
fit[c] < load
best < fit[a] fit[b] fit[c]
"""
LOOPS = "a\nm control=map gives=list[int] < a\nb control=branch < a\nc when=b\nz < m"
TAKES = {"map": {"item": "list[Any]"}, "branch": {"condition": "bool"}}
TIMES = {"load": 2000, "fit": 60_000, "best": 1000}


@pytest.fixture
def asked(tmp_path):
    """A request for a plan on two CPUs, in a folder of its own."""
    (tmp_path / "host.toml").write_text("cpus = 2\nmemory_mb = 1000\n")

    def request(text=GRAPH, times=TIMES, **options):
        plan = graphs.plan(text, {"rate": ("float", 0.5)} if "rate" in text else {})
        sites = tuple(
            msgspec.structs.replace(
                site,
                estimate=Estimate(times[site.site], "declared") if site.site in times else Estimate(),
                takes=TAKES.get(site.control, site.takes),
            )
            for site in plan.sites
        )
        path = tmp_path / "main.plan.jsonl"
        path.write_bytes(codec.encode(msgspec.structs.replace(plan, sites=sites)))
        return Request(path, str(tmp_path / "host.toml"), **options)

    return request


def said(request):
    return forecast.text(run(request), 80).splitlines()


def refused(request):
    with pytest.raises(Refused) as refusal:
        run(request)
    (found,) = refusal.value.diagnostics
    return found.code


TEXT = """
main: 2 min 3 s on 2 CPUs, 1.0 GB, no GPU, 5 nodes
at least 1 min 32 s: the longest path takes 1 min 3 s, CPUs need 1 min 32 s for the work

         0               30 s           1 min           1.5 min        2 min
*load    █                                                                2.00 s
 fit[a]   ███████████████████████████████▌                                1 min
 fit[b]   ███████████████████████████████▌                                1 min
*fit[c]                                  ▐██████████████████████████████▌ 1 min
*best                                                                   ▐ 1.00 s

cpus     ▄███████████████████████████████▅▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄▄ 74 %
memory                                                                    0 %

bottleneck  CPUs: nodes that are ready wait for CPUs during 49 % of the time (1 min of 2 min 3 s)
the end     is decided by load → fit[c] → best
            running 1 min 3 s (51 %), waiting for CPUs 1 min (49 %), starting 3 ms (0 %)
"""


def test_the_text(asked):
    assert said(asked()) == TEXT.strip().splitlines()


def test_a_history_tells_times_imports_and_starts(asked, tmp_path):
    history = tmp_path / "history.jsonl"
    rows = [Record(f"flows:{op}", "c0de", 3, 9000, own_ms=5000) for op in ("load", "fit", "best")]
    history.write_bytes(encode(rows, [Module("torch", 3, 700)], Runner(9, 100)))
    assert run(asked(history=history)).findings.makespan_ms == 4 * 5100


def test_what_is_taken_for_granted(asked):
    request = asked(LOOPS, {"a": 10}, assume=("m=2",))
    lines = said(request)
    granted = lines[lines.index("taken for granted") + 1 :]
    assert granted == [
        "  4 nodes of 3 sites without an estimate take 1.00 s each: `m`, `c`, `z`",
        "  `m` has 2 items, as given",
        "  the condition `b` holds (`--assume b=otherwise` for another answer)",
    ]


def test_a_sweep(asked):
    assert said(asked(sweeps=("cpus=4,1,2",)))[-4:] == [
        "cpus  makespan   faster  cpus held  memory held  bottleneck",
        "1     3 min 3 s  1.00 x  100 %      0 %          CPUs",
        "2     2 min 3 s  1.49 x  74 %       0 %          CPUs",
        "4     1 min 3 s  2.90 x  73 %       0 %          the longest path",
    ]
    assert (
        said(asked(sweeps=("cpus=4,8",)))[-1] == "more than 4 CPUs does not pay: it is less than 5 % faster"
    )


def test_a_deadline(asked):
    assert said(asked(deadline="70s"))[-2:] == [
        "1 min 10 s is missed as given, in 2 min 3 s",
        "  3 CPUs would do, in 1 min 3 s",
    ]
    assert said(asked(deadline="3min"))[-2:] == [
        "3 min is met as given, in 2 min 3 s",
        "  2 CPUs would do, in 2 min 3 s",
    ]
    assert said(asked(deadline="1min"))[-2].startswith("1 min cannot be met with any number of CPUs and GPUs")


def test_a_seed_draws_the_same_for_everybody(asked, tmp_path):
    history = tmp_path / "history.jsonl"
    rows = [Record("flows:fit", "c0de", 9, 1, own_ms=60_000, own_ms_p90=90_000)]
    history.write_bytes(encode(rows))
    times = [run(asked(history=history, seed=seed)).findings.makespan_ms for seed in (1, 1, 2)]
    assert times[0] == times[1] != times[2]


def test_inputs_that_are_not_given_are_not_known(asked):
    assert run(asked(inputs=("rate=2",))).nodes == 5
    assert refused(asked(inputs=("rate=high",))) == "FR103"
    assert refused(asked(inputs=("speed=2",))) == "FR102"


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"sweeps": ("gpus",)}, "FR130"),
        ({"sweeps": ("gpus=1,two",)}, "FR130"),
        ({"sweeps": ("gpus=1.5",)}, "FR130"),
        ({"sweeps": ("disks=1",)}, "FR130"),
        ({"sweeps": ("cpus=nan",)}, "FR130"),
        ({"sweeps": ("cpus=" + ",".join(map(str, range(1, 200))),)}, "FR130"),
        ({"deadline": "soon"}, "FR131"),
        ({"deadline": "0s"}, "FR131"),
        ({"assume": ("load=3",)}, "FR132"),
        ({"assume": ("nothing=3",)}, "FR132"),
    ],
)
def test_nonsense_is_refused(asked, options, code):
    assert refused(asked(**options)) == code


@pytest.mark.parametrize("assume", ["m=then", "m=-1", "m=1000000000000", "b=3", "b", "=", "m="])
def test_assumptions_that_fit_nothing(asked, assume):
    assert refused(asked(LOOPS, assume=(assume,))) == "FR132"


def test_what_could_never_run_is_refused_as_in_a_run(asked):
    assert refused(asked("a cpus=64")) == "FR110"


def test_for_machines(asked):
    found = forecast.plain(run(asked()))
    assert found["schedule"][0] == {"node": "load", "start_ms": 0, "end_ms": 2001, "gpus": ()}
    assert found["findings"]["bottleneck"].startswith("CPUs: ")
    assert msgspec.json.encode(found)
