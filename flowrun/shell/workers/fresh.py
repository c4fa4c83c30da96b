"""Workers and zygotes as new interpreters, for who wants to share nothing, and where to fork is unsafe.

They find their modules where this process finds them, and are given their sockets as inherited descriptors.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from pathlib import Path
from typing import NoReturn

import msgspec

from flowrun.shell.workers.messages import Fork, Prepare

_MAIN = (
    "import sys; sys.path[:] = {path!r}; "
    "from flowrun.shell.workers.fresh import {main}; {main}({arguments!r})"
)


def command(main: str, arguments: str) -> list[str]:
    """The command line of an interpreter that calls a function of this module."""
    return [sys.executable, "-c", _MAIN.format(path=sys.path, main=main, arguments=arguments)]


def become(fork: Fork, prepare: Prepare, files: list[int]) -> NoReturn:
    """Turn this process, just forked, into a new interpreter that is a worker."""
    for descriptor in files:
        os.set_inheritable(descriptor, True)
    words = command("work", msgspec.json.encode((fork, prepare, files)).decode())
    os.execv(words[0], words)


def work(arguments: str) -> NoReturn:
    """What the new interpreter does that is a worker."""
    from flowrun.shell.store.artifacts import Store
    from flowrun.shell.workers import worker

    fork, prepare, files = msgspec.json.decode(arguments, type=tuple[Fork, Prepare, list[int]])
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for descriptor in files:
        os.set_inheritable(descriptor, False)
    worker.serve(socket.socket(fileno=files[0]), files[1:], fork.folder, prepare, Store(Path(prepare.store)))


def serve(arguments: str) -> NoReturn:
    """What the new interpreter does that is a zygote."""
    import resource

    from flowrun.shell.workers import zygote
    from flowrun.shell.workers.descendants import signal_at_parents_death

    parent, descriptor, most_files = msgspec.json.decode(arguments, type=tuple[int, int, int])
    signal_at_parents_death(signal.SIGKILL)  # until it can do better
    if os.getppid() != parent:
        os._exit(1)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most_files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.set_inheritable(descriptor, False)
    zygote.run(socket.socket(fileno=descriptor))
    os._exit(0)
