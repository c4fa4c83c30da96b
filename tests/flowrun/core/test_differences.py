"""In what two computations differ, in words."""

import pytest

from flowrun.core.differences import differences
from flowrun.core.reuse import Content

ARGS = {"data": {"hash": "a" * 64, "at": ()}, "rate": {"value": 0.5}, "depth": 3}
BEFORE = Content("flows:fit", "c0de", {"numpy": "2.4.5", "torch": "2.9"}, ARGS)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({}, []),
        ({"code": "c1de"}, ["its operator's code differs from iris-6"]),
        ({"op": "flows:new", "code": "c1de"}, ["it calls `flows:new` instead of `flows:fit` in iris-6"]),
        ({"versions": {"numpy": "2.4.6", "torch": "2.9"}}, ["numpy 2.4.6 instead of 2.4.5 in iris-6"]),
        ({"versions": {"numpy": "2.4.5"}}, ["its operator does not import torch any more, as in iris-6"]),
        (
            {"versions": {**BEFORE.versions, "scipy": "1"}},
            ["its operator imports scipy, other than in iris-6"],
        ),
        (
            {"args": {**ARGS, "data": {"hash": "b" * 64, "at": ()}}},
            ["argument `data` has other content than in iris-6"],
        ),
        ({"args": {**ARGS, "rate": {"value": 0.7}}}, ["argument `rate` is 0.7 instead of 0.5 in iris-6"]),
        ({"args": {**ARGS, "rate": "x" * 100}}, ["argument `rate` has other content than in iris-6"]),
        (
            {"args": {"data": ARGS["data"], "rate": {"value": 0.5}, "width": 1}},
            [
                "argument `depth` is not given any more, as in iris-6",
                "argument `width` is given, other than in iris-6",
            ],
        ),
    ],
)
def test_each_has_its_words(changed, said):
    assert differences(BEFORE._replace(**changed), BEFORE, "iris-6") == said
