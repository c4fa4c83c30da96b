"""What is to become of a rollout, by what was seen of it: to be decided about every second, and right once.

Every rule is a claim on a share of requests, and is judged by bounds between which that share lies:

- one share, of rows that differ: Wilson's score interval (E. B. Wilson, "Probable inference, the law of
  succession, and statistical inference", J. Am. Stat. Assoc. 22, 1927);
- two shares, of failures of either side: their difference by R. G. Newcombe's method 10 ("Interval estimation
  for the difference between independent proportions", Statistics in Medicine 17, 1998);
- a 99th percentile: the share of requests above the bound that it must not exceed, beside the share of the
  stable version's above their own 99th percentile. Nothing is assumed of how latencies are distributed.

Who looks every second and stops when it suits him is wrong more often than his bounds say. So it is looked
only when samples have doubled, and the looks share the risk of an error: 0.05 in all for each rule in each
step, half of it before there are `min_requests`. Between looks nothing is decided.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from math import sqrt
from statistics import NormalDist

import msgspec

from flowserve.core.rollout.evidence import Counts, Evidence, above, bound_ms, bucket_of, quantile
from flowserve.core.rollout.plan import Rollout

RISK = 0.05
_QUANTILE = 0.99
# So much more of the candidate's requests may be beyond the bound for its 99th percentile: its 98th is not.
_SLOW_MORE = 0.01
_EARLY_LOOKS = 4  # before `min_requests`: at a 16th, an 8th, a quarter, half of it
_FIRST_MIN = 5


class Wait(msgspec.Struct, frozen=True):
    """There is not enough to decide."""

    reason: str


class Advance(msgspec.Struct, frozen=True):
    """The candidate gets the share of the next step."""

    reason: str


class Promote(msgspec.Struct, frozen=True):
    """The alias moves to the candidate."""

    reason: str


class RollBack(msgspec.Struct, frozen=True):
    """The candidate gets nothing more."""

    reason: str


Verdict = Wait | Advance | Promote | RollBack


class Look(msgspec.Struct, frozen=True):
    """The last look at a rule: how many there were, and what it said."""

    count: int = 0
    good: bool = False
    said: str = ""


Looks = dict[str, Look]


class Claim(msgspec.Struct, frozen=True):
    """A share that must be small: `failed` of `size`, beside `beside` of `beside_size` of the stable
    version's, if that is not 0. It is bad when it is surely above `bad`, and good when surely at most
    `good`. A claim that is not `needed` only rolls back."""

    name: str
    said: str
    failed: float
    size: int
    bad: float
    good: float
    beside: float = 0.0
    beside_size: int = 0
    two_sided: bool = False
    needed: bool = True


def judge(rollout: Rollout, evidence: Evidence, age_s: float, looks: Looks) -> tuple[Verdict, Looks]:
    """Decide on a rollout whose step is `age_s` old, and say what to remember until the next time."""
    plan, looks = rollout.plan, dict(looks)
    claims = list(_claims(rollout, evidence))
    for claim in claims:
        before = looks.get(claim.name, Look())
        if claim.size < _look_at(before.count, plan.min_requests):
            continue
        count = before.count
        while claim.size >= _look_at(count + 1, plan.min_requests):
            count += 1
        low, high = bounds(claim, _deviations(count))
        if low > claim.bad:
            return RollBack(f"version {rollout.candidate} {claim.said}"), looks
        looks[claim.name] = Look(count + 1, high <= claim.good, claim.said)
    reason = _not_yet(claims, looks, plan.min_requests)
    if reason:
        return Wait(reason), looks
    if age_s < plan.step_s:
        return Wait(f"good so far, after {age_s:.0f} s of {plan.step_s:g} s"), looks
    if plan.manual:
        return Wait("good, and to be promoted by hand"), looks
    said = "; ".join(claim.said for claim in claims if claim.needed)
    good = f"version {rollout.candidate} {said}"
    return (Promote(good) if rollout.last else Advance(good)), looks


def wilson(failed: float, size: int, deviations: float) -> tuple[float, float]:
    """Bounds of a share, by so many standard deviations to either side."""
    if not size:
        return 0.0, 1.0
    share, z2 = failed / size, deviations**2
    middle = (share + z2 / (2 * size)) / (1 + z2 / size)
    half = deviations * sqrt(share * (1 - share) / size + z2 / (4 * size**2)) / (1 + z2 / size)
    return max(0.0, middle - half), min(1.0, middle + half)


def bounds(claim: Claim, deviations: float) -> tuple[float, float]:
    """Bounds of a claim's share, or of how much greater it is than the stable version's."""
    low, high = wilson(claim.failed, claim.size, deviations)
    if not claim.two_sided:
        return low, high
    share = claim.failed / claim.size if claim.size else 0.0
    beside = claim.beside / claim.beside_size if claim.beside_size else 0.0
    beside_low, beside_high = wilson(claim.beside, claim.beside_size, deviations)
    middle = share - beside
    return (
        middle - sqrt((share - low) ** 2 + (beside_high - beside) ** 2),
        middle + sqrt((high - share) ** 2 + (beside - beside_low) ** 2),
    )


def _claims(rollout: Rollout, evidence: Evidence) -> Iterator[Claim]:
    plan, shadow = rollout.plan, evidence.shadow
    stable, candidate = evidence.stable, evidence.candidate
    by_shadow_only = not rollout.share
    if not by_shadow_only:
        failures = f"failed {candidate.errors} of {candidate.requests} requests"
        beside = f"version {rollout.stable} {stable.errors} of {stable.requests}"
        yield Claim(
            "errors",
            f"{failures}, {beside}",
            candidate.errors,
            candidate.requests,
            plan.max_error_rate,
            plan.max_error_rate,
            stable.errors,
            stable.requests,
            two_sided=True,
        )
        yield _slowness(rollout, stable, candidate)
    if plan.shadow or shadow.compared:
        run = shadow.compared + shadow.failed
        yield Claim(
            "shadow",
            f"failed {shadow.failed} of {run} shadow requests",
            shadow.failed,
            run,
            plan.max_error_rate,
            plan.max_error_rate,
            needed=by_shadow_only,
        )
    if plan.max_disagreement is not None and plan.shadow:
        differs = shadow.disagreement / shadow.compared if shadow.compared else 0.0
        yield Claim(
            "disagreement",
            f"gave something else for {differs:.1%} of rows",
            shadow.disagreement,
            shadow.compared,
            plan.max_disagreement,
            plan.max_disagreement,
        )


def _slowness(rollout: Rollout, stable: Counts, candidate: Counts) -> Claim:
    """The share of requests beyond the bound for the 99th percentile, beside the stable version's own 1 %."""
    answered, beside = sum(candidate.latency.values()), sum(stable.latency.values())
    slow = slow_beside = 0
    said = "answered nothing yet"
    if answered and beside:
        at = quantile(stable.latency, _QUANTILE)
        limit = max(at, bucket_of(bound_ms(at) * rollout.plan.max_latency_ratio))
        slow, slow_beside = above(candidate.latency, limit), above(stable.latency, at)
        p99 = bound_ms(quantile(candidate.latency, _QUANTILE))
        said = f"has a 99th percentile of {p99:.3g} ms, version {rollout.stable} of {bound_ms(at):.3g} ms"
    size = answered if beside else 0
    return Claim("latency", said, slow, size, 0.0, _SLOW_MORE, slow_beside, beside, two_sided=True)


def _not_yet(claims: list[Claim], looks: Looks, min_requests: int) -> str:
    """Why the candidate cannot get more yet, "" where it can."""
    for claim in claims:
        if claim.needed and claim.name != "latency" and claim.size < min_requests:
            return f"{claim.size} of {min_requests} requests so far"
    unsure = [claim.name for claim in claims if claim.needed and not looks.get(claim.name, Look()).good]
    return f"not sure yet of {', '.join(unsure)}" if unsure else ""


def _look_at(count: int, min_requests: int) -> int:
    """The samples at which to look after `count` looks."""
    if count < _EARLY_LOOKS:
        return int(max(_FIRST_MIN * 2**count, min_requests * 2**count // 2**_EARLY_LOOKS))
    return int(max(_FIRST_MIN * 2**count, min_requests * 2 ** (count - _EARLY_LOOKS)))


@cache
def _deviations(count: int) -> float:
    """The standard deviations to allow at a look, of which there were `count`: its part of the risk."""
    if count < _EARLY_LOOKS:
        risk = RISK / 2 / _EARLY_LOOKS
    else:
        late = count - _EARLY_LOOKS
        risk = RISK / 2 / ((late + 1) * (late + 2))  # adds up to one half
    return NormalDist().inv_cdf(1 - risk)
