"""The language of `flowrun runs --where`."""

import pytest

from flowrun.core.search import MAX_DEPTH, Facts, Wrong, fields, parse, parse_field, sort

RUN = Facts(
    "main-7",
    7,
    "flows:main",
    "plans/main.plan.jsonl",
    "failed",
    started=5000,
    ended=0,
    took=90_000,
    input={"lr": 0.1, "name": "Ada", "deep": True, "layers": [1, 2], "none": None},
    metric={"accuracy": 0.9, "loss": float("nan")},
    tag={"team": "ads", "version": "12"},
)


def moment(text):
    return int(text[1:]) if text.startswith("t") else None


def duration(text):
    return int(text[:-1]) * 1000 if text.endswith("s") else None


def holds(text):
    return parse(text, moment, duration).holds(RUN)


@pytest.mark.parametrize(
    "text",
    [
        "state=failed",
        "state == failed and number>6 and number<8",
        "run=main-7 and workflow~MAIN and plan!~iris",
        "started>=t5000 and not started<t5000 and took>89s",
        "input.lr>=0.1 and input.lr<0.2 and input.lr=0.1 and input.lr!=0.2",
        "input.name=Ada and input.name='Ada' and input.name<Bea and input.name~ad",
        "input.deep=true and input.deep!=false and not input.deep=1",
        "input.layers=[1 or input.layers='[1,2]'",
        "metric.accuracy>=0.9",
        "tag.version>9 and tag.version=12 and tag.version!=12.5 and tag.version='12'",
        "tag.team in (core, ads)",
        "state in (failed)",
        "tag.team",
        "not tag.owner and not metric.f1 and not input.none",
        "tag.owner!=ads and tag.owner!~a",  # who has no such tag differs
        "ended!=t1",  # it has not ended
        "state=cancelled or state=failed and number=7",  # `and` binds more
        "(state=cancelled or state=failed) and number=7",
        "not (state=cancelled or number=8)",
        "not not state=failed",
        r"input.name='A\da'",
    ],
)
def test_what_holds(text):
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "state=succeeded",
        "tag.owner=ads",
        "tag.owner<z and tag.owner>a",
        "input.name>5",  # no number is compared with a name
        "metric.loss>0 or metric.loss<=0 or metric.loss=0",  # not a number
        "ended<t99999",
        "state=cancelled and state=failed or number=8",
        "(state=failed or number=7) and number=8",
    ],
)
def test_what_does_not_hold(text):
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "at", "said"),
    [
        ("state=faild", "faild", "runs are never `faild`"),
        ("stat=failed", "stat", "runs have no `stat`"),
        ("input=3", "input", "`input` names nothing"),
        ("meta.x=3", "meta.x", "runs have no `meta.x`"),
        ("state", "state", "expected a comparison after `state`, got the end"),
        ("state=", "", "expected a value for `state`, got the end"),
        ("state=failed number=7", "number", "expected `and` or `or`, got `number`"),
        ("(state=failed", "", "expected `)`, got the end"),
        ("state=failed)", ")", "expected `and` or `or`, got `)`"),
        ("and state=failed", "and", "expected a field, got `and`"),
        ("state=failed and", "", "expected a field, got the end"),
        ("started>soon", "soon", "`soon` is no moment"),
        ("took>5h", "5h", "`5h` is no duration"),
        ("number>many", "many", "`many` is no number"),
        ("tag.team in ads", "ads", "expected `(`, got `ads`"),
        ("tag.team in (ads core)", "core", "expected `)`, got `core`"),
        ("tag.team='ads", "'ads", "this quote has no end"),
        ("tag.team=a !b", "!", "`!` has no meaning here"),
        ("  ", "", "expected a field, got the end"),
    ],
)
def test_what_cannot_be_understood(text, at, said):
    with pytest.raises(Wrong) as wrong:
        holds(text)
    assert str(wrong.value) == said
    assert text[wrong.value.start : wrong.value.end] == at


@pytest.mark.parametrize(
    "text", ["not " * 9999, "(" * 9999, "tag.a=" + "b" * 10_000, "not " * (MAX_DEPTH + 1)]
)
def test_conditions_are_bounded(text):
    with pytest.raises(Wrong, match="at most"):
        holds(text)


def test_the_fields_that_a_condition_asks_about():
    condition = parse("not tag.a and (input.b>1 or tag.a=2) and state=failed", moment, duration)
    assert [str(field) for field in fields(condition)] == ["tag.a", "input.b", "state"]


def test_sorting_has_runs_without_the_field_last():
    def run(number, **metrics):
        return Facts(f"m-{number}", number, "w", "p", "failed", 1, 0, 1, metric=metrics)

    runs = [run(1, f=2), run(2), run(3, f=float("nan")), run(4, f=1), run(5, f=2)]
    by_f = parse_field("metric.f")
    assert [facts.number for facts in sort(runs, by_f, descending=False)] == [4, 1, 5, 2, 3]
    assert [facts.number for facts in sort(runs, by_f, descending=True)] == [1, 5, 4, 2, 3]
    assert [facts.number for facts in sort(runs, parse_field("number"), descending=True)] == [5, 4, 3, 2, 1]
