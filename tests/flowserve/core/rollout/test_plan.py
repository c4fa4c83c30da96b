"""Which rollouts there can be."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.rollout.plan import Plan, checked, planned, shares


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"steps": []}, "a step below 100 %"),
        ({"steps": [100]}, "a step below 100 %"),
        ({"steps": [5, 5]}, "must go up"),
        ({"steps": [5, 100, 25]}, "must go up"),
        ({"steps": [5, 101]}, "101|100"),
        ({"steps": list(range(60))}, "at most 50 steps"),
        ({"steps": [0, 5]}, "at a share of 0 %"),
        ({"max_error_rate": 0}, "max_error_rate"),
        ({"min_requests": 0}, "min_requests"),
        ({"max_latency_ratio": 0.5}, "max_latency_ratio"),
        ({"header": "X Canary"}, "header"),
        ({"shadow": 150}, "a rollout's `shadow` cannot be like that: expected `float` <= 100.0$"),
        ({"shares": 5}, "a rollout's settings cannot be like that: object contains unknown field `shares"),
    ],
)
def test_plans_that_cannot_be_followed(settings, said):
    with pytest.raises(Refused, match=rf"FS280.*({said})"):
        planned(Plan(), settings)


def test_settings_go_before_the_servers():
    plan = planned(Plan(shadow=10.0, min_requests=7), {"steps": [5, 50], "shadow": 20})
    assert (plan.steps, plan.shadow, plan.min_requests) == ((5.0, 50.0), 20.0, 7)
    assert checked(plan) == plan
    assert shares(planned(Plan(), {}).steps) == "1 → 5 → 25 → 100 %"
