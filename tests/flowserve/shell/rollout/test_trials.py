"""What comes of requests that a rollout parts: counted on their side, and run again where there is time."""

import array
import asyncio

import numpy as np

from flowc.plan.diagnostics import Diagnostic, Refused
from flowserve.core.catalog.split import Split
from flowserve.core.catalog.table import Table
from flowserve.core.catalog.version import Version
from flowserve.core.datatypes import DATATYPES
from flowserve.core.models.key import Key
from flowserve.core.models.model import Model
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.rollout.evidence import Counts, Evidence
from flowserve.core.rollout.plan import Plan, Rollout, checked
from flowserve.shell.engine.engine import LoopEngine
from flowserve.shell.models.serving import Serving
from flowserve.shell.rollout.shadows import Spare
from flowserve.shell.rollout.trials import Trials

SPEC = TensorSpec("y", DATATYPES["FP32"], (-1,), ("",), ())
FEED = {"x": np.ones(1, np.float32)}


def model(version: int, run) -> Model:
    return Model("m", version, Signature((SPEC,), (SPEC,)), run)


def split(run=lambda feed, names: [feed["x"] * 2], share=50.0, serial=1) -> Split:
    rollout = Rollout(1, 2, ("a", "b"), checked(Plan(steps=(share,), shadow=100.0)), 0, serial)
    stable, candidate = model(1, lambda feed, names: [feed["x"]]), model(2, run)
    versions = [Version(Key("m", of.version, "s"), of) for of in (stable, candidate)]
    return Split("m", "production", rollout, *versions, Evidence())


def settled(of: Split, play) -> Evidence:
    """Play with trials on a loop until there is nothing left to do."""

    async def run() -> None:
        engine = LoopEngine(asyncio.get_running_loop())
        trials = Trials(engine)
        trials._shadows._spare = Idle()
        play(trials, engine)
        async with asyncio.timeout(20):
            while trials._shadows._running:
                await asyncio.sleep(0)
        # What ran in shadow is in nobody's statistics.
        assert engine.tally(of.candidate.model).succeeded == 0
        engine.close()

    asyncio.run(run())
    return of.evidence


class Idle:
    def now(self) -> bool:
        return True


class Busy:
    def now(self) -> bool:
        return False


def header(value: str):
    return lambda name: value if name == "x-canary" else ""


def test_requests_are_counted_on_their_side():
    of = split()

    def play(trials, engine):
        for value in ("always", "never", "never"):
            trial = trials.begin(of, header(value))
            trial.ended(True)
            trial.ended(False)  # only once
        trial = trials.begin(of, lambda name: "user" if name == "x-routing-key" else "")
        trial.ended(False)

    evidence = settled(of, play)
    assert (evidence.candidate.forced, evidence.stable.forced) == (1, 2)
    assert evidence.candidate.requests + evidence.stable.requests == 1
    assert evidence.candidate.errors + evidence.stable.errors == 1


def run_stable(trials: Trials, of: Split, times: int) -> None:
    for _ in range(times):
        trial = trials.begin(of, header("never"))
        outcome = []
        done = trial.watched(FEED, ("y",), 1, outcome.append)
        done(of.stable.model.run(FEED, ("y",)))
        assert len(outcome) == 1
        trial.ended(True)


def test_what_the_stable_version_answered_is_compared():
    evidence = settled(of := split(), lambda trials, engine: run_stable(trials, of, 3))
    shadow = evidence.shadow
    assert (shadow.compared, shadow.failed, shadow.dropped, shadow.disagreement) == (3, 0, 0, 3.0)
    assert shadow.outputs["y"].max_absolute == 1.0
    assert sum(shadow.candidate.values()) == sum(shadow.stable.values()) == 3
    assert evidence.candidate == Counts()


def test_a_candidate_that_fails_in_shadow_fails_nobody():
    def run(feed, names):
        raise Refused(Diagnostic("FS210", "it does not like that"))

    evidence = settled(of := split(run), lambda trials, engine: run_stable(trials, of, 2))
    assert (evidence.shadow.compared, evidence.shadow.failed) == (0, 2)


def test_a_busy_process_drops_shadows_and_few_wait():
    def play(trials, engine):
        run_stable(trials, of, 6)  # one turn of the loop: four may wait
        trials._shadows._spare = Busy()
        run_stable(trials, of, 1)
        trials._shadows._spare = Idle()

    of = split()
    evidence = settled(of, play)
    assert (evidence.shadow.compared, evidence.shadow.dropped) == (4, 3)


def test_what_the_stable_version_refused_is_not_run_again():
    def play(trials, engine):
        trial = trials.begin(of, header("never"))
        done = trial.watched(FEED, ("y",), 1, lambda result: None)
        done(Refused(Diagnostic("FS210", "no")))
        trial.ended(False)

    of = split()
    assert settled(of, play).shadow.compared == 0


def test_a_candidate_that_is_to_go_gets_nothing_more_in_this_table_and_the_next():
    of, then = split(99.0), split(99.0)
    word = memoryview(array.array("Q", [1]))
    serving = Serving(Table([of.stable, of.candidate], {"m": {"production": 1}}, 1, [of]), word)
    serving.stage(Table([then.stable, then.candidate], {"m": {"production": 1}}, 2, [then]))
    serving.halt({("m", "production", 1), ("m", "other", 1)})
    for halted in (of, then):
        assert halted.choose("always", "", 0.0) == ("stable", True)
    assert split(99.0).choose("", "", 0.0) == ("candidate", False)


def test_headers_are_kept_from_before_a_rollout_begins_until_it_ends():
    word = memoryview(array.array("Q", [1]))
    of = split()
    versions = [of.stable, of.candidate]
    serving = Serving(Table(versions, {}, 1), word)
    kept = serving.headers
    assert not kept
    serving.stage(Table(versions, {"m": {"production": 1}}, 2, [of]))
    assert kept == {b"x-canary", b"x-routing-key"}
    word[0] = 2
    assert serving.table.splits == (of,)
    serving.stage(Table(versions, {}, 3))
    assert kept
    word[0] = 3
    assert serving.table.splits == ()
    assert kept == set()


def test_time_to_spare_is_measured():
    spare = Spare()
    assert spare.now()
    spare._at -= 1000.0
    assert spare.now()
    spare._at, spare._thread = spare._at - 1.0, spare._thread - 0.9
    assert not spare.now()
