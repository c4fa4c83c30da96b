"""Where an operator finds the project's files.

A node works in a folder of its own, which is empty when it starts and emptied when it has ended. So what two
nodes write does not get mixed up, and nothing depends on what an earlier node, or a person, left lying there.
"""

from __future__ import annotations

import os
from pathlib import Path


def project() -> Path:
    """The folder that the run was started in; outside of a run the current one.

    A parameter of type `Path` needs none of this: a relative path that a node is given is taken from there.
    """
    return Path(os.environ.get("FLOW_PROJECT") or os.getcwd())
