"""What the scheduler, the zygotes and the workers say to each other, over sockets."""

import os
import socket
import threading

import pytest

from flowrun.core.model import Artifact, Failure, Usage
from flowrun.shell.workers.messages import (
    Branch,
    Ended,
    Fork,
    Incoming,
    Prepare,
    Signal,
    Spawn,
    close_all,
    decode_report,
    frame,
    receive_attempt,
    receive_order,
)

ORDERS = [
    Prepare("r", "s", "l", "p", ("m:f",) * 5000, ("torch",)),
    Branch(1, ("torch",)),
    Fork(2, "w"),
    Signal(2, 15),
]
ATTEMPT = Spawn("a[x]/b#2", 3, "m:f", "c0de", {"x": {"value": [1, None, "ä"]}}, 1.5, (0, 2), ("torch",))
REPORTS = [
    Ended("a", 1, Artifact("f" * 64, 3, b"x"), usage=Usage(1, 2), fit=True),
    Ended("n" * 500, 1, failure=Failure("FR201", "\U0001f600" * 4000, "f" * 500, "\U0001f600" * 4000)),
    Ended("a", 2),
]


@pytest.fixture
def stream():
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    yield ends
    for end in ends:
        end.close()


def test_orders_come_in_order(stream):
    one, other = stream
    sender = threading.Thread(target=one.sendall, args=(b"".join(map(frame, ORDERS)),))
    sender.start()
    assert [receive_order(other) for _ in ORDERS] == [(order, []) for order in ORDERS]
    sender.join()


def test_descriptors_come_with_their_order(stream):
    one, other = stream
    pipes = [os.pipe() for _ in range(2)]
    for order, (read, write) in zip(ORDERS[1:3], pipes, strict=True):
        socket.send_fds(one, [frame(order)], [read, write])
    one.sendall(frame(ORDERS[3]))
    for order, (_, write) in zip(ORDERS[1:3], pipes, strict=True):
        received, (its_read, its_write) = receive_order(other)
        assert received == order
        os.write(write, b"this one")
        assert os.read(its_read, 100) == b"this one"
        assert not os.get_inheritable(its_read)
        close_all([its_read, its_write])
    assert receive_order(other) == (ORDERS[3], [])
    for pipe in pipes:
        close_all(pipe)


@pytest.mark.parametrize("size", [1, 70_000, 3_000_000])
def test_an_attempt_may_be_far_larger_than_the_socket(stream, size):
    one, other = stream
    order = Spawn("a", 1, "m:f", "c0de", {"x": "y" * size}, 1, None)
    sender = threading.Thread(target=one.sendall, args=(frame(order),))
    sender.start()
    assert receive_attempt(other) == order
    sender.join()


def test_an_attempt_in_pieces(stream):
    one, other = stream
    data = frame(ATTEMPT)
    sender = threading.Thread(target=lambda: [one.send(data[i : i + 1]) for i in range(len(data))])
    sender.start()
    assert receive_attempt(other) == ATTEMPT
    sender.join()


@pytest.mark.parametrize("sent", [0, 2, 10])
@pytest.mark.parametrize("receive", [receive_order, receive_attempt])
def test_a_sender_that_is_gone_even_in_the_middle(stream, sent, receive):
    one, other = stream
    one.sendall(frame(ATTEMPT)[:sent])
    one.close()
    assert receive(other) is None


@pytest.mark.parametrize("size", [1, 3, 7, 1000, 1_000_000])
def test_reports_come_whole_however_they_are_cut(size):
    data, incoming = b"".join(map(frame, REPORTS)), Incoming()
    pieces = [data[i : i + size] for i in range(0, len(data), size)]
    assert [decode_report(body) for piece in pieces for body in incoming.feed(piece)] == REPORTS


@pytest.mark.parametrize(
    ("settings", "alone", "threads"),
    [
        ({}, False, 1),
        ({"cpus": 0.5}, False, 1),
        ({"cpus": 2.5}, False, 2),
        ({"gpus": ()}, False, 1),
        ({"gpus": (0,)}, True, 1),
        ({"isolation": "fork"}, True, 1),
        ({"isolation": "fresh"}, True, 1),
    ],
)
def test_what_an_attempt_needs_of_its_process(settings, alone, threads):
    order = Spawn("a", 1, "m:f", "c", {}, **({"cpus": 1, "gpus": None} | settings))
    assert (order.alone, order.threads) == (alone, threads)
