"""A plan as lines for git to compare."""

from flowc.plan.codec import encode
from flowc.review.lines import lines


def test_the_whole_text(project):
    plan = project.compile(
        """
        from ops import *

        @operator(cpus=0.5, memory="2GB", retries=2)
        def train(parts: Parts, rate: float) -> float: ...

        @workflow
        def main(name: str, rate: float = 0.5):
            parts = split(load(name))
            models = [train(parts, rate) for i in range(2)]
            return gather(models, {"a b": parts.test, "c": [1, True, None, "x\\n"]})
        """
    )
    text = "\n".join(lines(encode(plan)))
    for site in plan.sites:
        text = text.replace(site.code, "0")
    assert (
        text
        == """\
workflow flow:main
input name: str
input rate: float = 0.5
result gather
type ops:Parts(test: list[int], train: list[int])
site load: ops:load(path: str) -> list[int] code 0
site parts: ops:split(data: list[int]) -> ops:Parts code 0
site models: flow:train(parts: ops:Parts, rate: float) -> float code 0 \
needs (cpus 0.5, memory_mb 2048) retries 2
site gather: ops:gather(items: Any, more: Any) -> Any code 0
node load(path=input name)
node parts(data=load)
node models[0](parts=parts, rate=input rate)
node models[1](parts=parts, rate=input rate)
node gather(items=[models[0], models[1]], more={"a b": parts.test, c: [1, true, null, "x\\n"]})"""
    )


def test_moved_calls_do_not_show(project):
    one = project.main("a = load('a')\nreturn clean(a)")
    other = project.main("\n\na = load('a')\n\nreturn clean(a)")
    assert one != other
    assert [*lines(encode(one))] == [*lines(encode(other))]


def test_what_is_no_row_is_written_as_it_is(plan_bytes):
    rows = plan_bytes.splitlines()
    damaged = b"\n".join(
        [
            rows[0],
            b"<<<<<<< HEAD",
            b'{"kind":"node"',
            b"\xff\x1b[31m",
            b'{"kind":"node","id":"x","args":{"a":{}}}',
        ]
    )
    assert [*lines(damaged)][-4:] == [
        "<<<<<<< HEAD", '{"kind":"node"', "\ufffd\\x1b[31m", '{"kind":"node","id":"x","args":{"a":{}}}',
    ]  # fmt: skip
    assert [*lines(b"")] == []


def test_every_row_but_places_and_levels_shows(plan_bytes):
    header_lines = 2 + plan_bytes.splitlines()[0].count(b'"type"')
    rows = [
        row
        for row in plan_bytes.splitlines()[1:]
        if not row.startswith((b'{"kind":"span"', b'{"kind":"level"', b'{"kind":"code"'))
    ]
    assert len([*lines(plan_bytes)]) == header_lines + len(rows)
