"""What the scheduler, the zygote and the workers say to each other, over sockets."""

import socket
import threading

import pytest

from flowrun.core.model import Artifact, Failure, Usage
from flowrun.shell import messages
from flowrun.shell.messages import Ended, Reaped, Signal, Spawn, encode, frame, receive_order, receive_report

ORDERS = [
    Spawn("a[x]/b#2", 3, "m:f", "c0de", {"x": {"value": [1, None, "ä"]}}, "log", 1.5, (0, 2), ("torch",)),
    Spawn("a", 1, "m:f", "c0de", {}, "log", 1, None),
    Signal("a", 1, 15),
]
REPORTS = [
    Ended("a", 1, Artifact("f" * 64, 3), usage=Usage(1, 2)),
    Ended("a", 1, failure=Failure("FR201", "no", "x.py:3")),
    Reaped("a", 1, 9, Usage()),
]


@pytest.fixture
def stream():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    yield ends
    for end in ends:
        end.close()


@pytest.fixture
def packets():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    yield ends
    for end in ends:
        end.close()


def test_orders_come_in_order(stream):
    one, other = stream
    one.sendall(b"".join(map(frame, ORDERS)))
    assert [receive_order(other) for _ in ORDERS] == ORDERS


def test_an_order_may_be_far_larger_than_the_socket(stream):
    one, other = stream
    order = Spawn("a", 1, "m:f", "c0de", {"x": "y" * 3_000_000}, "log", 1, None)
    sender = threading.Thread(target=one.sendall, args=(frame(order),))
    sender.start()
    assert receive_order(other) == order
    sender.join()


@pytest.mark.parametrize("bytes_sent", [0, 2, 10])
def test_a_sender_that_is_gone_even_in_the_middle(stream, bytes_sent):
    one, other = stream
    one.sendall(frame(ORDERS[0])[:bytes_sent])
    one.close()
    assert receive_order(other) is None


def test_reports_come_one_by_one_and_nobody_waits(packets):
    one, other = packets
    for report in REPORTS:
        one.send(encode(report))
    assert [receive_report(other) for _ in REPORTS] == REPORTS
    assert receive_report(other) is None
    one.close()
    assert receive_report(other) is None


def test_the_largest_report_fits(packets):
    """A failure's message, place and hint are cut to 4,000 characters, which may be 4 bytes each."""
    one, other = packets
    report = Ended(
        "n" * 500, 1, failure=Failure("FR201", "\U0001f600" * 4000, "f" * 500, "\U0001f600" * 4000)
    )
    one.send(encode(report))
    assert len(encode(report)) < messages.MAX_REPORT
    assert receive_report(other) == report
