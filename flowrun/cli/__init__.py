"""The `flowrun` command. Each group of commands is a module, loaded when one of them is called."""

from __future__ import annotations

import gc
import sys

from flowc.plan.command import App, Group
from flowc.plan.lean import import_pathlib

app = App(
    "flowrun",
    "Execute plans on this machine, and look at runs.",
    (
        Group("run plans", "flowrun.cli.running", ("execute", "retry", "rerun", "cancel")),
        Group(
            "look at runs",
            "flowrun.cli.looking",
            ("runs", "show", "logs", "why", "diff", "events", "trace", "metrics"),
        ),
        Group("keep in order", "flowrun.cli.keeping", ("tag",)),
        Group("keep artifacts", "flowrun.cli.storing", ("gc", "verify", "artifacts", "get")),
        Group("look back", "flowrun.cli.origins", ("lineage",)),
        Group("look ahead", "flowrun.cli.planning", ("simulate", "history", "devices")),
        Group("share a host", "flowrun.cli.sharing", ("daemon", "submit", "queue", "teams")),
    ),
)


_WITH_WORKERS = ("execute", "retry", "rerun")


def main() -> None:
    """Entry point."""
    # Imports and plans make many objects and no garbage: collecting seldom saves a tenth of a short run.
    gc.set_threshold(100_000, 50, 100)
    # So long (s) the thread that writes the log may keep who starts nodes from the interpreter: not for 5 ms.
    sys.setswitchinterval(0.0005)
    if sys.argv[1:2] and sys.argv[1] in _WITH_WORKERS:
        # Even before the command line is read: the other process is small now, and imports what workers need
        # while this one imports the scheduler. Where nothing comes of the command, it ends with this one.
        from flowrun.shell.workers.forkserver import own_zygote

        own_zygote()
    import_pathlib()
    app()
