"""What becomes of candidates, good and bad, by what chance shows of them: over many seeds."""

from collections import Counter

import numpy as np
import pytest

from flowserve.core.rollout.evidence import Evidence, bucket_of
from flowserve.core.rollout.plan import Plan, Rollout, checked
from flowserve.core.rollout.verdict import (
    Advance,
    Claim,
    Promote,
    RollBack,
    Wait,
    _deviations,
    _look_at,
    bounds,
    judge,
    wilson,
)

PER_LOOK = 400
LOOKS_MAX = 150
# A latency's share by bucket: a body, and a tail of a tenth.
BUCKETS = np.arange(-8, 32)
BODY = np.exp(-0.5 * ((BUCKETS - 2) / 3.0) ** 2)
LATENCY = 0.9 * BODY / BODY.sum() + 0.1 * (BUCKETS > 6) * np.exp(-0.4 * BUCKETS)
LATENCY /= LATENCY.sum()


def rollout(share=25.0, **plan) -> Rollout:
    of = checked(Plan(steps=(share, 50.0), **plan))
    return Rollout(1, 2, ("a", "b"), of, 0, 1)


def seen(generator, counts, requests: int, error_rate: float, slower: int) -> None:
    """Add requests; latencies are `slower` eighths of an octave."""
    errors = int(generator.binomial(requests, error_rate))
    counts.requests += requests
    counts.errors += errors
    for bucket, count in zip(BUCKETS, generator.multinomial(requests - errors, LATENCY), strict=True):
        if count:
            at = int(bucket) + slower
            counts.latency[at] = counts.latency.get(at, 0) + int(count)


def played(seed: int, of: Rollout, errors=(0.01, 0.01), slower: int = 0, differs: float = 0.0):
    """Judge again and again as requests come; return the verdict and the candidate's requests until then."""
    generator, evidence, looks = np.random.default_rng(seed), Evidence(), {}
    for second in range(LOOKS_MAX):
        theirs = int(generator.binomial(PER_LOOK, of.share / 100))
        seen(generator, evidence.stable, PER_LOOK - theirs, errors[0], 0)
        seen(generator, evidence.candidate, theirs, errors[1], slower)
        if of.plan.shadow:
            compared = int(generator.binomial(PER_LOOK - theirs, of.plan.shadow / 100))
            evidence.shadow.compared += compared
            evidence.shadow.disagreement += float(generator.binomial(compared, differs))
        verdict, looks = judge(of, evidence, second, looks)
        if not isinstance(verdict, Wait):
            break
    return verdict, evidence.candidate.requests


def test_no_candidate_that_is_clearly_bad_gets_more_over_1000_seeds():
    shadowed = rollout(step_s=0, shadow=20.0, max_disagreement=0.02)
    plain = rollout(step_s=0)
    kinds = [
        (plain, {"errors": (0.01, 0.08)}),
        (plain, {"errors": (0.30, 0.40)}),
        (plain, {"slower": 8}),  # twice as slow
        (shadowed, {"differs": 0.06}),
    ]
    for of, what in kinds:
        verdicts = Counter(type(played(seed, of, **what)[0]) for seed in range(1000))
        assert verdicts == {RollBack: 1000}, what


def test_a_candidate_that_is_as_good_gets_more_and_soon():
    of = rollout(step_s=0, shadow=20.0, max_disagreement=0.02)
    found = [played(seed, of, errors=(0.005, 0.005), differs=0.005) for seed in range(200)]
    assert Counter(type(verdict) for verdict, _ in found)[Advance] >= 198
    assert sorted(requests for _, requests in found)[100] < 2500


def test_one_that_fails_always_goes_at_once():
    verdict, requests = played(1, rollout(share=1.0), errors=(0.0, 1.0))
    assert isinstance(verdict, RollBack)
    assert requests < 40
    assert "version 2 failed" in verdict.reason


def test_nobody_gets_more_before_there_are_enough_requests_and_time():
    evidence = Evidence()
    generator = np.random.default_rng(0)
    verdict, looks = judge(rollout(), evidence, 1000, {})
    assert verdict == Wait("0 of 250 requests so far")
    seen(generator, evidence.stable, 100_000, 0, 0)
    seen(generator, evidence.candidate, 249, 0, 0)
    verdict, looks = judge(rollout(), evidence, 1000, looks)
    assert verdict == Wait("249 of 250 requests so far")
    seen(generator, evidence.candidate, 4000, 0, 0)
    verdict, looks = judge(rollout(), evidence, 20, looks)
    assert verdict == Wait("good so far, after 20 s of 60 s")
    assert isinstance(judge(rollout(), evidence, 60, looks)[0], Advance)
    last = Rollout(1, 2, ("a", "b"), rollout().plan, 1, 1)
    assert isinstance(judge(last, evidence, 60, looks)[0], Promote)
    by_hand = rollout(manual=True)
    assert judge(by_hand, evidence, 60, looks)[0] == Wait("good, and to be promoted by hand")


def test_a_share_of_nothing_is_judged_by_its_shadow():
    of = rollout(share=0.0, shadow=100.0, step_s=0)
    evidence = Evidence()
    assert isinstance(judge(of, evidence, 0, {})[0], Wait)
    evidence.shadow.compared = 300
    assert isinstance(judge(of, evidence, 0, {})[0], Advance)
    evidence.shadow.failed = 30
    verdict, _ = judge(of, evidence, 0, {})
    assert verdict == RollBack("version 2 failed 30 of 330 shadow requests")


def test_a_share_is_not_held_up_by_a_shadow_that_is_not_judged():
    evidence = Evidence()
    generator = np.random.default_rng(0)
    seen(generator, evidence.stable, 20_000, 0, 0)
    seen(generator, evidence.candidate, 5000, 0, 0)
    assert isinstance(judge(rollout(shadow=100.0, step_s=0), evidence, 0, {})[0], Advance)


def test_who_forces_a_side_is_no_sample():
    evidence = Evidence()
    for _ in range(500):
        evidence.candidate.count(False, 1.0, forced=True)
    assert isinstance(judge(rollout(), evidence, 1000, {})[0], Wait)
    assert evidence.candidate.forced_errors == 500


def test_between_looks_nothing_is_decided():
    """Else who looks every second would find something at last."""
    evidence = Evidence()
    generator = np.random.default_rng(0)
    seen(generator, evidence.stable, 1000, 0, 0)
    seen(generator, evidence.candidate, 40, 0, 0)
    _, looks = judge(rollout(), evidence, 0, {})
    seen(generator, evidence.candidate, 10, 1.0, 0)
    verdict, again = judge(rollout(), evidence, 0, looks)
    assert isinstance(verdict, Wait)
    assert again == looks
    seen(generator, evidence.candidate, 20, 0, 0)
    assert isinstance(judge(rollout(), evidence, 0, looks)[0], RollBack)


def test_looks_double_and_share_the_risk():
    assert [_look_at(count, 250) for count in range(7)] == [15, 31, 62, 125, 250, 500, 1000]
    assert [_look_at(count, 1) for count in range(4)] == [5, 10, 20, 40]
    assert [round(_deviations(count), 2) for count in (0, 3, 4, 5, 20)] == [2.5, 2.5, 2.24, 2.64, 3.77]


@pytest.mark.parametrize(
    ("failed", "size", "low", "high"),
    # R. G. Newcombe, "Two-sided confidence intervals for the single proportion", 1998, table I: method 3.
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_bounds_of_a_share(failed, size, low, high):
    assert wilson(failed, size, 1.959964) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(
    ("a", "m", "b", "n", "low", "high"),
    # R. G. Newcombe, "Interval estimation for the difference between ...", 1998, table II: method 10.
    [
        (56, 70, 48, 80, 0.0524, 0.3339),
        (9, 10, 3, 10, 0.1705, 0.8090),
        (10, 10, 0, 20, 0.6791, 1.0),
        (0, 10, 0, 10, -0.2775, 0.2775),
    ],
)
def test_bounds_of_a_difference_of_shares(a, m, b, n, low, high):
    claim = Claim("x", "", a, m, 0, 0, b, n, two_sided=True)
    assert bounds(claim, 1.959964) == pytest.approx((low, high), abs=5e-5)


def test_nothing_is_known_of_nothing():
    assert wilson(0, 0, 2) == (0, 1)
    assert bucket_of(1.0) == 0
