"""Lines for who started us, who need not be there any more."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator
from typing import TextIO


def say(lines: Iterable[str]) -> None:
    """Print lines at once; that nobody reads them any more is no error."""
    with whoever_reads(sys.stdout):
        for line in lines:
            print(line)


def complain(line: str) -> None:
    """Print a line on standard error, in the same way."""
    with whoever_reads(sys.stderr):
        print(line, file=sys.stderr)


@contextlib.contextmanager
def whoever_reads(stream: TextIO) -> Iterator[None]:
    """For writing to standard output or error: once that fails, what else is written there goes nowhere.

    Whoever was reading has seen enough (`| head`), the terminal is gone, or the disk is full: no reason to
    stop the run.
    """
    try:
        yield
        stream.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
