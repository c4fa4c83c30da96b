"""Printing for who may not be there any more."""

import os
import sys

from flowrun.shell.saying import complain, say


def test_saying_something_into_a_closed_pipe_is_no_error(monkeypatch):
    """And from then on it goes nowhere."""
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        for _ in range(3):
            say(["a line"])
        assert os.readlink(f"/proc/self/fd/{writer}") == "/dev/null"


def test_complaining_into_a_closed_pipe_is_no_error(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as pipe:
        monkeypatch.setattr(sys, "stderr", pipe)
        for _ in range(3):
            complain("a line")
