"""Plans that were checked before: decoded in steps, and not checked again."""

import msgspec
import pytest

from flowc.plan import codec, known
from flowc.plan.model import Header, Level, Node, Plan, Site, Span


def wide(count):
    """A plan of nodes that wait for nothing."""
    return Plan(
        Header(1, "m:wide"),
        sites=(Site("s", "m:f", "c"),),
        nodes=tuple(Node(f"s[{i}]") for i in range(count)),
        levels=(Level(0, count, ("s",)),),
        spans=(Span("s", "m.py:1:1"),),
    )


def test_the_plan_is_the_same():
    plan = wide(3)
    assert known.decode(codec.encode(plan)) == plan == codec.decode(codec.encode(plan), "p")


def test_a_large_one_is_read_in_steps():
    steps = known.decoding(codec.encode(wide(2 * known.SLICE)))
    assert [next(steps), next(steps)] == [None, None]
    with pytest.raises(StopIteration) as end:
        next(steps)
    assert len(end.value.value.nodes) == 2 * known.SLICE


@pytest.mark.parametrize("data", [b"", b"{", b'{"kind":"node","id":"a"}\n'])
def test_what_is_no_plan_is_an_error(data):
    with pytest.raises(msgspec.DecodeError):
        known.decode(data)


def test_a_plan_of_another_format_is_none_of_ours():
    data = codec.encode(wide(1)).replace(b'"format":1', b'"format":7')
    with pytest.raises(msgspec.DecodeError, match="format 1"):
        known.decode(data)
