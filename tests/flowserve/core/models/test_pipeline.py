"""What a pipeline says is checked by itself, then against its models; and in which order its steps run."""

import pytest

from flowc.plan.diagnostics import Refused
from flowserve.core.models.pipeline import fit, read_pipeline, route
from flowserve.core.models.signature import Signature, TensorSpec
from flowserve.core.wire.datatypes import DATATYPES

CHAIN = """
inputs = ["text"]
outputs = ["class"]

[[step]]
model = "tokens"
inputs = { text = "text" }
outputs = { ids = "ids" }

[[step]]
model = "classify@production"
inputs = { tokens = "ids" }
[step.outputs]
label = "class"
"""


def spec(name, datatype, *shape, labels=()):
    return TensorSpec(name, DATATYPES[datatype], shape, labels=labels)


TOKENS = Signature((spec("text", "BYTES", -1),), (spec("ids", "INT64", -1, 8), spec("length", "INT64", -1)))
CLASSIFY = Signature(
    (spec("tokens", "INT64", -1, -1),), (spec("label", "FP32", -1, 3, labels=("a", "b", "c")),)
)


def wrong(text, *members):
    with pytest.raises(Refused) as caught:
        fit(read_pipeline(text, "p.toml"), members)
    assert {d.code for d in caught.value.diagnostics} == {"FS263" if members else "FS262"}
    return [(str(d.labels[0].place).removeprefix("p.toml:"), d.message) for d in caught.value.diagnostics]


def test_the_signature_is_that_of_the_ends():
    signature = fit(read_pipeline(CHAIN, "p.toml"), [TOKENS, CLASSIFY])
    assert str(signature) == "text BYTES[-1] -> class FP32[-1, 3]"
    assert signature.outputs[0].labels == ("a", "b", "c")


def test_an_input_that_two_steps_take_is_what_both_take():
    text = """
        inputs = ["x"]
        outputs = ["a", "b"]
        [[step]]
        model = "m"
        inputs = { x = "x" }
        outputs = { y = "a" }
        [[step]]
        model = "n"
        inputs = { x = "x" }
        outputs = { y = "b" }
    """
    y = (spec("y", "FP32", -1),)
    m, n = Signature((spec("x", "FP32", -1, 4),), y), Signature((spec("x", "FP32", 2, -1),), y)
    assert str(fit(read_pipeline(text, "p.toml"), [m, n])) == "x FP32[2, 4] -> a FP32[-1], b FP32[-1]"
    n = Signature((spec("x", "FP32", -1, 5),), y)
    assert wrong(text, m, n) == [
        (
            "10:9",
            "step 2 (`n`) takes `x` as FP32[-1, 5], "
            "but another step takes it as FP32[-1, 4]: dimension 1 differs",
        )
    ]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ('outputs = ["class"]', 'outputs = ["klass"]', ("3:1", "no step gives the output `klass`")),
        ('outputs = ["class"]', "outputs = []", ("3:1", "a pipeline must have outputs")),
        ('["text"]', '["text", "more"]', ("2:1", "no step takes the input `more`")),
        ('["text"]', '["text", "text"]', ("2:1", "`text` must stand only once in `inputs`")),
        (
            '{ tokens = "ids" }',
            '{ tokens = "id" }',
            ("12:1", "step 2 (`classify@production`) takes `id`, which n"),
        ),
        (
            'label = "class"',
            'label = "ids"',
            ("14:1", "`ids` must come from one place, but comes from step 1"),
        ),
        (
            '{ ids = "ids" }',
            '{ ids = "text" }',
            ("8:1", "comes from the pipeline's inputs and step 1 (`tokens`)"),
        ),
        (
            '{ ids = "ids" }',
            '{ ids = "ids", n = "n", m = "n" }',
            ("8:1", "comes from step 1 (`tokens`) and step 1"),
        ),
        ('"tokens"', '"to/kens"', ("6:1", "a step's model must be NAME, NAME@VERSION or NAME@ALIAS")),
        ("[[step]]", "[[steps]]", ("5", "there is no setting `steps`")),
        ('model = "tokens"', "model = 1", ("6:1", "`step[0].model` is wrong: expected `str`, got `int`")),
        ("inputs = [", "input = [", ("2:1", "there is no setting `input`")),
        (
            'label = "class"',
            'label = "class"\n[[step]]\nmodel = "m"',
            ("15", "step 3 (`m`) is for nothing"),
        ),
    ],
)
def test_what_is_wrong_by_itself(old, new, expected):
    assert old in CHAIN
    place, message = expected
    found = wrong(CHAIN.replace(old, new))
    assert any(at == place and message in said for at, said in found), found


def test_a_circle():
    text = CHAIN.replace('{ text = "text" }', '{ text = "text", back = "class" }')
    assert wrong(text) == [
        (
            "5",
            "steps wait for each other in a circle: step 1 (`tokens`) -> "
            "step 2 (`classify@production`) -> step 1 (`tokens`)",
        )
    ]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            (TOKENS, Signature((*CLASSIFY.inputs, spec("mask", "BOOL", -1)), CLASSIFY.outputs)),
            ("12:1", "the model of step 2 (`classify@production`) also takes `mask`"),
        ),
        (
            (Signature(TOKENS.inputs, TOKENS.outputs[1:]), CLASSIFY),
            ("8:1", "the model of step 1 (`tokens`) has no output `ids`; it has `length`"),
        ),
        (
            (TOKENS, Signature((spec("tokens", "INT32", -1, 8),), CLASSIFY.outputs)),
            (
                "12:1",
                "takes `ids` as INT32[-1, 8], but step 1 (`tokens`) gives it as INT64[-1, 8]: the datatypes",
            ),
        ),
        (
            (TOKENS, Signature((spec("tokens", "INT64", -1, 9),), CLASSIFY.outputs)),
            ("12:1", "dimension 1 differs"),
        ),
        (
            (TOKENS, Signature((spec("tokens", "INT64", -1),), CLASSIFY.outputs)),
            ("12:1", "the numbers of dimensions differ"),
        ),
    ],
)
def test_what_does_not_fit(members, expected):
    ((place, message),) = wrong(CHAIN, *members)
    assert place == expected[0]
    assert expected[1] in message


def test_stages_run_after_what_they_need_and_only_what_is_needed_runs():
    text = """
        inputs = ["x"]
        outputs = ["sum", "left"]
        [[step]]
        model = "add"
        inputs = { a = "left", b = "right" }
        outputs = { sum = "sum" }
        [[step]]
        model = "l"
        inputs = { x = "x" }
        outputs = { y = "left", z = "unused" }
        [[step]]
        model = "r"
        inputs = { x = "x" }
        outputs = { y = "right" }
    """
    pipeline = read_pipeline(text, "p.toml").pipeline
    stages = route(pipeline, ["sum", "left"])
    assert [(s.step, s.waits, s.then) for s in stages] == [(1, 0, (2,)), (2, 0, (2,)), (0, 2, ())]
    assert stages[0].gives == (("y", "left"),)
    assert [stage.step for stage in route(pipeline, ["left"])] == [1]
