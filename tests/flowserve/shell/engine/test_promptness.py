"""How threads step back and forward."""

import os
import threading

import pytest

from flowserve.shell.engine import promptness
from flowserve.shell.engine.promptness import step_back, step_forward


def nice():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def on_a_thread(run):
    found = []
    thread = threading.Thread(target=lambda: found.append(run()))
    thread.start()
    thread.join(20)
    return found[0]


def test_a_thread_that_steps_back_does_so_alone():
    before = nice()
    assert on_a_thread(lambda: [step_back(), nice()][1]) == min(19, before + 10)
    assert nice() == before


def test_a_thread_that_steps_forward_is_as_nice_as_before():
    before = nice()
    assert on_a_thread(lambda: [step_forward(), nice()][1]) == before


@pytest.mark.parametrize("machine", [None, 10**6])
def test_a_system_that_knows_no_slices_is_left_alone(monkeypatch, machine):
    monkeypatch.setattr(promptness, "_SCHED_SETATTR", machine)
    before = nice()
    assert on_a_thread(lambda: [step_forward(), step_back(), nice()][2]) == min(19, before + 10)
