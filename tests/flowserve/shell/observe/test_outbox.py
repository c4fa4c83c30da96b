"""A queue that drops and counts, and a thread that goes on whatever happens."""

import logging
import threading

from flowserve.core.observe.measures import Logged
from flowserve.shell.observe.outbox import Outbox


def test_all_is_sent_in_order_and_at_the_end_what_waits():
    sent = []
    outbox = Outbox("log", sent.extend, pause_s=10.0)  # `close` does not wait for the pause
    for item in range(3000):
        outbox.put(item)
    outbox.close()
    assert sent == list(range(3000))
    assert outbox.logged == Logged(3000)


def test_what_finds_the_queue_full_is_dropped():
    sending, go_on = threading.Event(), threading.Event()

    def send(items):
        sending.set()
        assert go_on.wait(10)

    outbox = Outbox("log", send, waiting_max=2, pause_s=0)
    outbox.put("first")
    assert sending.wait(10)
    for item in range(5):
        outbox.put(item)
    go_on.set()
    outbox.close()
    assert outbox.logged == Logged(3, dropped=3)


def test_what_cannot_be_sent_is_lost_and_the_next_goes_on(caplog):
    sent, tried = [], threading.Event()

    def send(items):
        tried.set()
        if not sent and "bad" in items:
            raise OSError("no space left on device")
        sent.extend(items)

    outbox = Outbox("access log", send, pause_s=0)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            tried.clear()
            outbox.put("bad")
            assert tried.wait(10)
        tried.clear()
        outbox.put("good")
        assert tried.wait(10)
        outbox.close()
    assert sent == ["good"]
    assert outbox.logged == Logged(1, lost=2)
    assert len(caplog.records) == 1  # not a line a request
    assert "access log" in caplog.text
    assert "no space left" in caplog.text


def test_what_waits_is_bounded_in_bytes_but_one_alone_is_always_taken():
    sending, go_on = threading.Event(), threading.Event()

    def send(items):
        sending.set()
        assert go_on.wait(10)

    outbox = Outbox("samples", send, pause_s=0)
    outbox.put("huge", 2**30)
    assert sending.wait(10)
    outbox.put("next", 1)  # 1 GiB waits
    go_on.set()
    outbox.close()
    assert outbox.logged == Logged(1, dropped=1)
