"""How every command of the toolchain ends when it refuses: diagnostics on standard error, exit status 1."""

from __future__ import annotations

import sys
from collections.abc import Callable


def run(app: Callable[[], object]) -> None:
    """Run a command-line app. Imports nothing before it is needed: `--help` should be quick."""
    try:
        app()
    except Exception as error:
        from flowc.plan.diagnostics import Refused, print_refusal

        if not isinstance(error, Refused):
            raise
        print_refusal(error)
        sys.exit(1)
