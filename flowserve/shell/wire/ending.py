"""When a process is to finish what was begun and end."""

from __future__ import annotations

import signal


def end_signals() -> list[signal.Signals]:
    """The signals that ask for it: SIGTERM, Ctrl-C, and a terminal that goes away, but not under `nohup`."""
    asked = [signal.SIGTERM, signal.SIGINT]
    return asked if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [*asked, signal.SIGHUP]
