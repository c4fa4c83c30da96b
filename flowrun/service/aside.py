"""Work that would hold up the loop, in a short-lived process beside it."""

from __future__ import annotations

import os
import subprocess
import sys


class Aside:
    """A process that runs a module of ours, with some bytes to read; what it writes is its result.

    `ended` is a descriptor that becomes readable when the process has come to its end. It is no fork: what
    the daemon has open, its database above all, must not be used by another process.
    """

    def __init__(self, module: str, given: bytes) -> None:
        self.ended, ending = os.pipe()
        self._result = os.memfd_create("result")  # of any size, and nobody has to read meanwhile
        with os.fdopen(os.memfd_create("given"), "w+b") as file:
            file.write(given)
            file.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", module],
                stdin=file,
                stdout=self._result,
                pass_fds=(ending,),
                start_new_session=True,  # a Ctrl-C at the terminal is the loop's to handle
            )
        os.close(ending)

    def result(self) -> bytes | None:
        """What came of it once it has `ended`; `None` if the process died."""
        if self._process.wait():
            return None
        os.lseek(self._result, 0, os.SEEK_SET)
        with open(self._result, "rb", closefd=False) as file:
            return file.read()

    def close(self) -> None:
        """Let go of it, whether it has ended or not."""
        self._process.kill()
        self._process.wait()
        os.close(self._result)
        os.close(self.ended)
